//! The Prometheus text format, version 0.0.4, read as strictly as it can be: what is not in order is an error, not a
//! guess.
//!
//! 1. A family is its `# HELP`, its `# TYPE` and at least one sample, together and only once. There is nothing between.
//! 2. Names and labels have the letters that Prometheus allows; a value has only the escapes that the format knows.
//! 3. No series appears twice. Counters are finite and not negative.
//! 4. A histogram has rising bounds that end with `+Inf`, counts that never fall, a sum and a count, for each set of
//!    labels.

use std::collections::{BTreeMap, BTreeSet};

/// All that was exposed, by the name of the family.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    pub(crate) families: BTreeMap<String, Family>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Family {
    pub(crate) help: String,
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Sample {
    /// The value of a label; empty if there is none, which is the same to Prometheus.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(k, v)| self.label(k) == *v)
    }
}

impl Exposition {
    /// The samples of this name that have these labels and perhaps others.
    pub(crate) fn samples<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let all = self.families.values().flat_map(|family| &family.samples);
        all.filter(move |sample| sample.name == name && sample.has(labels))
    }

    /// What the samples of this name that have these labels add up to; `None` if there are none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values = self.samples(name, labels).map(|sample| sample.value);
        values.reduce(|a, b| a + b)
    }

    /// All values of a label, wherever it appears.
    pub(crate) fn values_of(&self, label: &str) -> BTreeSet<&str> {
        let all = self.families.values().flat_map(|family| &family.samples);
        all.filter_map(|sample| sample.labels.get(label))
            .map(String::as_str)
            .collect()
    }
}

/// Reads an exposition.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn parse(text: &str) -> Result<Exposition, String> {
    let mut found = Exposition::default();
    let mut current = String::new();
    let Some(lines) = text.strip_suffix('\n') else {
        return Err("the last line does not end".into());
    };
    for line in lines.split('\n') {
        let wrong = |what: &str| Err(format!("{what}: {line}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else {
                return wrong("no help");
            };
            let family = Family {
                help: unescape(help, "\\n")?,
                ..Family::default()
            };
            name.clone_into(&mut current);
            if found.families.insert(current.clone(), family).is_some() {
                return wrong("a family comes twice");
            }
            continue;
        }
        let Some(family) = found.families.get_mut(&current) else {
            return wrong("no help before it");
        };
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            match rest.split_once(' ') {
                Some((name, kind @ ("counter" | "gauge" | "histogram")))
                    if name == current && family.kind.is_empty() =>
                {
                    kind.clone_into(&mut family.kind);
                }
                _ => return wrong("not the type of this family"),
            }
        } else {
            let sample = parse_sample(line).map_err(|what| format!("{what}: {line}"))?;
            let suffix = sample.name.strip_prefix(&current);
            match (family.kind.as_str(), suffix) {
                ("counter", Some("")) if sample.value.is_finite() && sample.value >= 0.0 => {}
                ("gauge", Some("")) | ("histogram", Some("_bucket" | "_sum" | "_count")) => {}
                _ => return wrong("not a sample of this family"),
            }
            family.samples.push(sample);
        }
    }
    for (name, family) in &found.families {
        check(name, family).map_err(|what| format!("{what} in {name}"))?;
    }
    Ok(found)
}

/// What can only be judged of a whole family.
fn check(name: &str, family: &Family) -> Result<(), String> {
    if family.samples.is_empty() {
        return Err("no sample".into());
    }
    if !is_name(name, true) {
        return Err("no name for a metric".into());
    }
    let mut seen = BTreeSet::new();
    for sample in &family.samples {
        if !seen.insert((&sample.name, &sample.labels)) {
            return Err(format!("twice the same series {:?}", sample.labels));
        }
    }
    if family.kind == "histogram" {
        let mut of_one: BTreeMap<BTreeMap<_, _>, Vec<&Sample>> = BTreeMap::new();
        for sample in &family.samples {
            let mut labels = sample.labels.clone();
            labels.remove("le");
            of_one.entry(labels).or_default().push(sample);
        }
        for (labels, samples) in of_one {
            check_histogram(&samples).map_err(|what| format!("{what} for {labels:?}"))?;
        }
    }
    Ok(())
}

fn check_histogram(samples: &[&Sample]) -> Result<(), String> {
    let mut last = (f64::NEG_INFINITY, 0.0);
    let (mut sums, mut counts) = (0, Vec::new());
    for sample in samples {
        if sample.name.ends_with("_sum") {
            sums += 1;
        } else if sample.name.ends_with("_count") {
            counts.push(sample.value);
        } else {
            let bound: f64 = match sample.label("le") {
                "+Inf" => f64::INFINITY,
                finite => finite.parse().map_err(|_| "a bound is not a number")?,
            };
            if bound <= last.0 || bound.is_nan() {
                return Err("bounds that do not rise".into());
            }
            if sample.value < last.1 {
                return Err("counts that fall".into());
            }
            last = (bound, sample.value);
        }
    }
    if last.0 != f64::INFINITY || counts != [last.1] || sums != 1 {
        return Err("no end, no sum or another count".into());
    }
    Ok(())
}

/// `name{label="value",..} 1`
pub(crate) fn parse_sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err("no name for a metric".into());
    }
    let mut labels = BTreeMap::new();
    if let Some(within) = rest.strip_prefix('{') {
        rest = within;
        loop {
            let (label, value) = rest.split_once("=\"").ok_or("no label")?;
            if !is_name(label, false) {
                return Err("no name for a label".into());
            }
            let end = closing_quote(value).ok_or("no closing quote")?;
            let text = unescape(&value[..end], "\\n\"")?;
            if labels.insert(label.to_owned(), text).is_some() {
                return Err("twice the same label".into());
            }
            rest = &value[end + 1..];
            match rest.split_at_checked(1) {
                Some((",", more)) => rest = more,
                Some(("}", more)) => {
                    rest = more;
                    break;
                }
                _ => return Err("neither a comma nor a brace".into()),
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    Ok(Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().map_err(|_| "not one number")?,
    })
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })
}

/// `known` are the characters that may follow a backslash.
fn unescape(text: &str, known: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some(c) if known.contains(c) => c,
                _ => return Err("an unknown escape".into()),
            },
            c => c,
        });
    }
    Ok(plain)
}

fn is_name(name: &str, of_metric: bool) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (of_metric && c == ':');
    name.chars().all(allowed) && name.starts_with(|c: char| !c.is_ascii_digit())
}

#[test]
fn parser_accepts_what_is_in_order() {
    let text = "# HELP a_total Of \\\\ and \\n.\n# TYPE a_total counter\na_total 1\na_total{x=\"}\\\"{ \\n\\\\\",y=\"\"} 2.5\n\
                # HELP h H.\n# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    let found = parse(text).unwrap();
    assert_eq!(found.families["a_total"].help, "Of \\ and \n.");
    assert_eq!(found.sum("a_total", &[("x", "}\"{ \n\\")]), Some(2.5));
    assert_eq!(found.sum("h_bucket", &[]), Some(3.0));
}

#[test]
fn parser_refuses_what_is_not() {
    let counter = "# HELP a A.\n# TYPE a counter\n";
    let histogram = "# HELP h H.\n# TYPE h histogram\n";
    for (head, body) in [
        ("", "a 1\n"),
        ("", "\n"),
        ("# TYPE a counter\n", "a 1\n"),
        ("# HELP a A.\n", "a 1\n"),
        (counter, ""),
        (counter, "a 1"),
        (counter, "a 1\n\n"),
        (counter, "a 1\n# a comment\n"),
        (counter, "a 1\na 1\n"),
        (counter, "a{x=\"1\"} 1\na{x=\"1\"} 2\n"),
        (counter, "a{x=\"1\",x=\"2\"} 1\n"),
        (counter, "a{x=\"\\t\"} 1\n"),
        (counter, "a{x=\"1} 1\n"),
        (counter, "a{x=\"1\"y=\"2\"} 1\n"),
        (counter, "a{1x=\"1\"} 1\n"),
        (counter, "a{x:y=\"1\"} 1\n"),
        (counter, "a 1 2\n"),
        (counter, "a -1\n"),
        (counter, "a NaN\n"),
        (counter, "b 1\n"),
        (
            counter,
            "a 1\n# HELP a A.\n# TYPE a counter\na{x=\"1\"} 1\n",
        ),
        (histogram, "h_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n"),
        (histogram, "h_bucket{le=\"+Inf\"} 1\nh_count 1\n"),
        (histogram, "h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 2\n"),
        (
            histogram,
            "h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
        ),
        (
            histogram,
            "h_bucket{le=\"2\"} 1\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
        ),
    ] {
        assert!(parse(&format!("{head}{body}")).is_err(), "{head}{body}");
    }
}
