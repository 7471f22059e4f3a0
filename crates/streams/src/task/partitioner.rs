//! Java's default partitioner, so that consumers in Java, ksql and HelixAgent's Go nodes can join
//! what we write.

/// Kafka's 32-bit murmur2 (`org.apache.kafka.common.utils.Utils.murmur2`), seed 0x9747b28c.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut h: u32 = 0x9747_b28c ^ (data.len() as u32);
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (at, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * at);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// The partition, of `partitions` (at least 1), of a key: `(murmur2(key) & 0x7fffffff) %
/// partitions`. A null key follows its source's partition, which spreads such records and is the
/// same on each run.
pub fn partition_for(key: Option<&[u8]>, source_partition: i32, partitions: i32) -> i32 {
    let partitions = partitions.max(1);
    match key {
        Some(key) => ((murmur2(key) & 0x7fff_ffff) as i32) % partitions,
        None => source_partition.max(0) % partitions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UtilsTest.testMurmur2` of Apache Kafka.
    #[test]
    fn murmur2_agrees_with_kafkas_test_vectors() {
        let cases: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key) as i32, expected, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn a_null_key_follows_its_source() {
        assert_eq!([0, 1, 5].map(|p| partition_for(None, p, 3)), [0, 1, 2]);
        assert_eq!(partition_for(Some(b"abc"), 9, 12), 479_470_107 % 12);
    }
}
