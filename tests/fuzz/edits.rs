//! Documents that are nearly right: a good one, changed in a few places.

use bolero::TypeGenerator;

/// What is written into a document, or stands alone as a value.
#[derive(Debug, Clone, TypeGenerator)]
pub(crate) enum Word {
    Known(u8),
    Letter(char),
    Text(String),
    Number(i64),
    Lasting(u64, u8),
}

/// What config files are made of, and what they should not be.
const KNOWN: &[&str] = &[
    "default_backoff",
    "backoff",
    "base_delay",
    "max_retries",
    "jitter",
    "intensity",
    "within",
    "after",
    "readiness",
    "on_failure",
    "On_Failure",
    "decorrelated",
    "all_terminated",
    "notify",
    "circuit_breaker_open",
    "true",
    "null",
    "nan",
    "inf",
    "-0",
    "1e400",
    "18446744073709551615",
    "99999999999999999999",
    "584542046090years 7months 15days 17h 5m 3s 999ms 999us 999ns",
    "584542046091years",
    "0s",
    "1 h",
    "-1s",
    "1979-05-27T07:32:00Z",
    "\"",
    "\"\"\"",
    "'",
    "=",
    ":",
    ",",
    "{",
    "}",
    "[",
    "]",
    "[[after]]",
    "#",
    "\n",
    "\r\n",
    "\0",
    "\\",
    "\\u0000",
    "\u{feff}",
    "\u{202e}",
];

const UNITS: &[&str] = &[
    "ns", "us", "ms", "s", "m", "h", "days", "weeks", "months", "years", "", "parsecs",
];

/// The `n`-th of these, and round again.
pub(crate) fn pick<'a>(from: &[&'a str], n: u8) -> &'a str {
    from[usize::from(n) % from.len()]
}

impl Word {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Known(n) => pick(KNOWN, *n).to_owned(),
            Self::Letter(letter) => letter.to_string(),
            Self::Text(text) => text.clone(),
            Self::Number(n) => n.to_string(),
            Self::Lasting(n, unit) => format!("{n}{}", pick(UNITS, *unit)),
        }
    }
}

/// One change. Places are counted in characters, and beyond the end from the beginning again.
#[derive(Debug, Clone, TypeGenerator)]
pub(crate) enum Edit {
    Insert {
        at: u16,
        word: Word,
    },
    Replace {
        at: u16,
        length: u8,
        word: Word,
    },
    /// From one line break to the next, at another place.
    Repeat {
        line: u8,
        at: u8,
    },
    Cut {
        line: u8,
    },
}

/// The document with these changes.
pub(crate) fn edited(document: &str, edits: &[Edit]) -> String {
    let mut text = document.to_owned();
    for edit in edits {
        text = edit.of(&text);
    }
    text
}

impl Edit {
    fn of(&self, text: &str) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        let within = |n: usize, len: usize| n % (len + 1);
        match self {
            Self::Insert { at, word } => {
                let at = within((*at).into(), letters.len());
                letters.splice(at..at, word.text().chars());
                letters.into_iter().collect()
            }
            Self::Replace { at, length, word } => {
                let at = within((*at).into(), letters.len());
                let end = letters.len().min(at + usize::from(*length % 16));
                letters.splice(at..end, word.text().chars());
                letters.into_iter().collect()
            }
            Self::Repeat { line, at } => {
                if let Some(line) = lines.get(usize::from(*line) % lines.len().max(1)) {
                    let at = within((*at).into(), lines.len());
                    lines.insert(at, line);
                }
                lines.concat()
            }
            Self::Cut { line } => {
                let line = usize::from(*line);
                if line < lines.len() {
                    lines.remove(line);
                }
                lines.concat()
            }
        }
    }
}
