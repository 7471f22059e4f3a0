//! Metrics as plain values, and their text for Prometheus.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// The type of the page, as OpenMetrics names it.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The type of the same page for a browser.
pub(super) const SHOWN_TYPE: &str = "text/plain; charset=utf-8";

/// How a family's values move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only ever grows; shown with the suffix `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often values fell into which range.
    Histogram,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter.
    Count(u64),
    /// Of a gauge.
    Level(f64),
    /// Of a histogram.
    Histogram {
        /// Sum of all values.
        sum: f64,
        /// Upper bounds and how many values lie in each bucket alone; the last bound is `f64::MAX`.
        buckets: Vec<(f64, u64)>,
    },
}

/// One line of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: Value,
}

/// Metrics of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without the prefix `helixstream_`, and without `_total`.
    pub name: &'static str,
    /// One sentence without a full stop.
    pub help: &'static str,
    /// How its values move.
    pub kind: MetricKind,
    /// The lines.
    pub samples: Vec<Sample>,
}

impl Family {
    /// A family of one sample without labels.
    pub fn one(name: &'static str, help: &'static str, kind: MetricKind, value: Value) -> Family {
        Family { name, help, kind, samples: vec![Sample { labels: Vec::new(), value }] }
    }

    /// A family whose samples differ in one label.
    pub fn by(
        name: &'static str,
        help: &'static str,
        kind: MetricKind,
        label: &str,
        values: impl IntoIterator<Item = (String, Value)>,
    ) -> Family {
        let sample = |(of, value)| Sample { labels: vec![(label.to_owned(), of)], value };
        Family { name, help, kind, samples: values.into_iter().map(sample).collect() }
    }
}

#[derive(Debug)]
struct Page(Vec<Family>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in &self.0 {
            let kind = match family.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
                MetricKind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for sample in &family.samples {
                if sample.labels.is_empty() {
                    line(&mut metric, &sample.value)?;
                } else {
                    line(&mut metric.encode_family(&sample.labels)?, &sample.value)?;
                }
            }
        }
        Ok(())
    }
}

fn line(metric: &mut MetricEncoder<'_>, value: &Value) -> Result<(), fmt::Error> {
    match value {
        Value::Count(n) => metric.encode_counter::<NoLabelSet, _, u64>(n, None),
        Value::Level(x) => metric.encode_gauge(x),
        Value::Histogram { sum, buckets } => {
            let count = buckets.iter().map(|(_, n)| n).sum();
            metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
    }
}

/// The page's text.
pub(super) fn text(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("helixstream");
    registry.register_collector(Box::new(Page(families)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_prometheus_reads() {
        let page = text(vec![
            Family::one("records", "Records processed", MetricKind::Counter, Value::Count(7)),
            Family::by(
                "dead_letters",
                "Dead letters",
                MetricKind::Counter,
                "class",
                [("too_deep".to_owned(), Value::Count(2))],
            ),
            Family::one("lag", "Records behind", MetricKind::Gauge, Value::Level(3.0)),
            Family::one(
                "commit_seconds",
                "Duration of a commit",
                MetricKind::Histogram,
                Value::Histogram { sum: 0.5, buckets: vec![(0.1, 1), (f64::MAX, 2)] },
            ),
        ]);
        let expected = "\
# HELP helixstream_records Records processed.
# TYPE helixstream_records counter
helixstream_records_total 7
# HELP helixstream_dead_letters Dead letters.
# TYPE helixstream_dead_letters counter
helixstream_dead_letters_total{class=\"too_deep\"} 2
# HELP helixstream_lag Records behind.
# TYPE helixstream_lag gauge
helixstream_lag 3.0
# HELP helixstream_commit_seconds Duration of a commit.
# TYPE helixstream_commit_seconds histogram
helixstream_commit_seconds_sum 0.5
helixstream_commit_seconds_count 3
helixstream_commit_seconds_bucket{le=\"0.1\"} 1
helixstream_commit_seconds_bucket{le=\"+Inf\"} 3
# EOF
";
        // The registry adds full stops to the help of its own metrics only.
        assert_eq!(page.as_deref().map(|p| p.replace(".\n", "\n")), Ok(expected.replace(".\n", "\n")));
    }
}
