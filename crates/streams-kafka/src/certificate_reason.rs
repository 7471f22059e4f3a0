//! Why OpenSSL refuses a broker's certificate, and what mends it: the numbers of `X509_V_ERR_…`
//! (openssl/x509_vfy.h) in plain words, each with the side that has to do something and the
//! setting. The words travel through librdkafka, which has room for a text and nothing else.

/// A reason and its remedy.
struct Reason {
    /// OpenSSL's numbers for it.
    numbers: &'static [i32],
    why: &'static str,
    remedy: &'static str,
}

const fn reason(numbers: &'static [i32], why: &'static str, remedy: &'static str) -> Reason {
    Reason { numbers, why, remedy }
}

const AUTHORITY: &str = "Set `ca_file` of [kafka] (ssl.ca.location) to the certificate of the authority that signed it. If an intermediate authority has, the broker \
    must send that one's certificate as well";
const NAME: &str = "Use a name of the broker that its certificate has (bootstrap servers, and advertised.listeners on the broker), or give the broker a certificate for this name";
const CLOCKS: &str = "Compare the clocks of both machines";
const REVOCATIONS: &str = "Put the authority's present list of revoked certificates into the file of \"ssl.crl.location\" of [kafka], or remove that key";
const SIGNER: &str = "The certificate that signed it needs basicConstraints CA:TRUE and keyUsage keyCertSign: have the authority's certificate made anew, give the broker one \
    that it has signed, and set `ca_file` of [kafka] (ssl.ca.location) to it";

/// Reasons to refuse the broker's own certificate.
const OF_BROKER: &[Reason] = &[
    reason(&[2, 20, 21], "the authority that signed it is not known here", AUTHORITY),
    reason(&[19, 27], "the authority at the end of its chain is not known here", AUTHORITY),
    reason(
        &[18],
        "it is self-signed and not known here",
        "Set `ca_file` of [kafka] (ssl.ca.location) to this very certificate, or give the broker one that an authority has signed",
    ),
    reason(
        &[7],
        "it was signed with another key than that of the authority which is known here by this name",
        "Set `ca_file` of [kafka] (ssl.ca.location) to the authority's present certificate",
    ),
    reason(&[9], "it is not yet valid", CLOCKS),
    reason(&[10], "it has expired", "Renew the certificate on the broker"),
    reason(&[23], "it is revoked", "Give the broker another certificate"),
    reason(&[62], "the broker's host name is not in it", NAME),
    reason(&[64], "the broker's IP address is not in it", NAME),
    reason(
        &[66],
        "its key is too short",
        "Give the broker a certificate with a longer key (RSA with 2048 bits, or an elliptic curve)",
    ),
    reason(
        &[68],
        "it is signed with a digest that is too weak",
        "Give the broker a certificate that is signed with SHA-256 or better",
    ),
    reason(
        &[26, 39],
        "it is not made for a server",
        "Give the broker a certificate whose extendedKeyUsage has serverAuth",
    ),
    reason(&[3], "there is no list of revoked certificates of its authority", REVOCATIONS),
    reason(&[11], "the list of revoked certificates is not yet valid", CLOCKS),
    reason(&[12], "the list of revoked certificates has expired", REVOCATIONS),
    reason(
        &[47, 48],
        "its authority may not sign certificates for this name",
        "Give the broker a certificate of an authority whose name constraints allow it",
    ),
];

/// Reasons to refuse the certificate of an authority above it.
const OF_AUTHORITY: &[Reason] = &[
    reason(&[9], "an authority above it is not yet valid", CLOCKS),
    reason(
        &[10],
        "the certificate of an authority above it has expired",
        "Have the authority's certificate renewed, and put the new one where the old one is: into `ca_file` of [kafka] (ssl.ca.location), or on the broker, if the broker \
         sends it",
    ),
    reason(
        &[23],
        "the certificate of an authority above it is revoked",
        "Give the broker a certificate of another authority",
    ),
    reason(&[24, 32, 79], "the certificate that signed it is not that of an authority", SIGNER),
    reason(
        &[22, 25],
        "there are more authorities above it than one of them allows",
        "Give the broker a certificate that an authority nearer to the root has signed",
    ),
    reason(
        &[66, 67],
        "the key of an authority above it is too short",
        "Give the broker a certificate of an authority with a longer key (RSA with 2048 bits, or an elliptic curve)",
    ),
    reason(
        &[68],
        "the certificate of an authority above it is signed with a digest that is too weak",
        "Have the authority's certificate signed with SHA-256 or better",
    ),
];

/// Why a certificate is refused, by OpenSSL's number and how far above the broker's own certificate
/// it stands; in `words` of OpenSSL where they say all there is.
pub(super) fn certificate_reason(number: i32, depth: i32, words: &str) -> String {
    let (first, second) = if depth > 0 { (OF_AUTHORITY, OF_BROKER) } else { (OF_BROKER, OF_AUTHORITY) };
    let known = first.iter().chain(second).find(|reason| reason.numbers.contains(&number));
    known.map_or_else(|| format!("OpenSSL says {words} (verification error {number})"), |known| known.why.to_owned())
}

/// The remedy for a reason of [`certificate_reason`].
pub(super) fn remedy_of(why: &str) -> &'static str {
    let known = OF_BROKER.iter().chain(OF_AUTHORITY).find(|reason| reason.why == why);
    known.map_or(
        "Look at what the broker shows with `openssl s_client -connect HOST:PORT -showcerts`, and at `ca_file` of [kafka] (ssl.ca.location)",
        |known| known.remedy,
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn openssl(dir: &Path, arguments: &str) -> String {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Makes a certificate, signed by `authority` or by itself.
    fn make(dir: &Path, name: &str, authority: &str, more: &str) {
        let ca =
            if authority.is_empty() { String::new() } else { format!("-CA {authority}.pem -CAkey {authority}.key ") };
        let key = if more.contains("-newkey") { "" } else { "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 " };
        let said = openssl(
            dir,
            &format!("req -x509 -noenc {key}{ca}-subj /CN={name} -keyout {name}.key -out {name}.pem {more}"),
        );
        assert!(dir.join(format!("{name}.pem")).exists(), "{name}: {said}");
    }

    /// Reason and remedy of what OpenSSL itself says of a chain, as a client of TLS asks it.
    fn told(dir: &Path, arguments: &str) -> String {
        let said = openssl(dir, &format!("verify -purpose sslserver {arguments}"));
        let line =
            said.lines().find(|line| line.starts_with("error ")).unwrap_or_else(|| panic!("{arguments}: {said}"));
        // error 20 at 0 depth lookup: unable to get local issuer certificate
        let mut words = line.split(' ');
        let number = words.nth(1).and_then(|word| word.parse().ok()).unwrap();
        let depth = words.nth(1).and_then(|word| word.parse().ok()).unwrap();
        let why = certificate_reason(number, depth, line.split_once("lookup: ").unwrap().1);
        format!("{why}. {}", remedy_of(&why))
    }

    #[test]
    fn each_reason_of_openssl_names_the_side_and_the_setting() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let leaf = "-addext basicConstraints=CA:FALSE -addext subjectAltName=DNS:localhost";
        make(dir, "root", "", "-days 9");
        make(dir, "stranger", "", "-days 9");
        make(dir, "mid", "root", "-days 9 -addext basicConstraints=critical,CA:TRUE,pathlen:0");
        make(dir, "below", "mid", "-days 9 -addext basicConstraints=CA:TRUE");
        make(dir, "good", "root", &format!("-days 9 {leaf}"));
        make(dir, "alone", "", &format!("-days 9 {leaf}"));
        make(dir, "of-mid", "mid", &format!("-days 9 {leaf}"));
        make(dir, "deep", "below", &format!("-days 9 {leaf}"));
        make(dir, "of-leaf", "good", &format!("-days 9 {leaf}"));
        make(dir, "client", "root", &format!("-days 9 {leaf} -addext extendedKeyUsage=clientAuth"));
        make(dir, "short", "root", &format!("-days 9 {leaf} -newkey rsa:1024"));
        make(dir, "weak", "root", &format!("-days 9 {leaf} -sha1"));
        make(dir, "small-root", "", "-days 9 -newkey rsa:1024");
        make(dir, "of-small", "small-root", &format!("-days 9 {leaf}"));
        make(dir, "narrow", "", "-days 9 -addext nameConstraints=permitted;DNS:example.org");
        make(dir, "outside", "narrow", &format!("-days 9 {leaf}"));
        // An authority of the same name with another key: what was signed says whose key it was, or
        // does not.
        make(dir, "bare", "root", &format!("-days 9 {leaf} -addext authorityKeyIdentifier=none"));
        std::fs::create_dir(dir.join("twin")).unwrap();
        make(&dir.join("twin"), "root", "", "-days 9");
        std::fs::write(
            dir.join("chain.pem"),
            ["mid", "below"].map(|name| std::fs::read_to_string(dir.join(format!("{name}.pem"))).unwrap()).concat(),
        )
        .unwrap();
        let past = 1_262_304_000;
        let future = 4_102_444_800_u64;
        for (arguments, parts) in [
            ("-CAfile stranger.pem good.pem", &["authority that signed it is not known here", "`ca_file`"][..]),
            ("-CAfile root.pem of-mid.pem", &["is not known here", "the broker must send that one's certificate"]),
            ("-CAfile stranger.pem -untrusted root.pem good.pem", &["end of its chain", "`ca_file`"]),
            ("-CAfile stranger.pem alone.pem", &["self-signed", "`ca_file`", "this very certificate"]),
            ("-CAfile twin/root.pem good.pem", &["is not known here", "`ca_file`"]),
            ("-CAfile twin/root.pem bare.pem", &["another key", "`ca_file`", "present certificate"]),
            (&format!("-CAfile root.pem -attime {future} good.pem"), &["has expired"]),
            (&format!("-CAfile root.pem -attime {past} good.pem"), &["is not yet valid", "clocks"]),
            ("-CAfile root.pem -verify_hostname other.example good.pem", &["host name", "advertised.listeners"]),
            ("-CAfile root.pem -verify_ip 10.0.0.1 good.pem", &["IP address", "advertised.listeners"]),
            ("-CAfile root.pem -auth_level 2 short.pem", &["its key is too short", "Give the broker"]),
            ("-CAfile root.pem -auth_level 2 weak.pem", &["digest that is too weak", "Give the broker"]),
            ("-CAfile small-root.pem -auth_level 2 of-small.pem", &["key of an authority above it is too short"]),
            ("-CAfile root.pem client.pem", &["not made for a server", "serverAuth", "Give the broker"]),
            ("-CAfile root.pem -untrusted good.pem of-leaf.pem", &["not that of an authority", "CA:TRUE"]),
            ("-CAfile root.pem -untrusted chain.pem deep.pem", &["more authorities above it than"]),
            ("-CAfile narrow.pem outside.pem", &["may not sign certificates for this name", "name constraints"]),
            ("-CAfile root.pem -crl_check good.pem", &["no list of revoked certificates", "ssl.crl.location"]),
        ] {
            let told = told(dir, arguments);
            assert!(parts.iter().all(|part| told.contains(part)), "{arguments}: {told}");
        }
        let unknown = certificate_reason(73, 0, "OCSP verification needed");
        assert_eq!(unknown, "OpenSSL says OCSP verification needed (verification error 73)");
        assert!(remedy_of(&unknown).contains("openssl s_client"));
    }

    #[test]
    fn a_revoked_certificate_and_an_expired_authority_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        make(dir, "root", "", "-days 9");
        make(dir, "revoked", "root", "-days 9 -addext basicConstraints=CA:FALSE");
        // `openssl ca` alone writes lists and dates in the past.
        std::fs::write(dir.join("index.txt"), "").unwrap();
        std::fs::write(
            dir.join("ca.cnf"),
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nrand_serial=yes\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\ncertificate=root.pem\nprivate_key=root.key\n\
             x509_extensions=x\n[p]\ncommonName=supplied\n[x]\nbasicConstraints=critical,CA:TRUE\n",
        )
        .unwrap();
        openssl(dir, "ca -batch -config ca.cnf -revoke revoked.pem");
        openssl(dir, "ca -config ca.cnf -gencrl -crldays 2 -out list.pem");
        let told_revoked = told(dir, "-CAfile root.pem -crl_check -CRLfile list.pem revoked.pem");
        assert_eq!(told_revoked, "it is revoked. Give the broker another certificate");
        let later = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 3 * 86_400;
        let stale = told(dir, &format!("-CAfile root.pem -crl_check -CRLfile list.pem -attime {later} revoked.pem"));
        assert!(
            stale.starts_with("the list of revoked certificates has expired. ") && stale.contains("ssl.crl.location")
        );
        openssl(
            dir,
            "req -new -noenc -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=old -keyout old.key -out old.csr",
        );
        openssl(
            dir,
            "ca -batch -config ca.cnf -in old.csr -out old.pem -notext -startdate 20200101000000Z -enddate 20200102000000Z",
        );
        make(dir, "of-old", "old", "-days 9 -addext basicConstraints=CA:FALSE");
        let expired = told(dir, "-CAfile root.pem -untrusted old.pem of-old.pem");
        assert!(
            expired.starts_with("the certificate of an authority above it has expired. ")
                && expired.contains("`ca_file`")
        );
        let own = told(dir, "-CAfile root.pem old.pem");
        assert_eq!(own, "it has expired. Renew the certificate on the broker");
    }
}
