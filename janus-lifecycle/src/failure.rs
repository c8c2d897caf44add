//! One failure of a service: its kind, and the error behind it.

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Display, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// In which way a run failed. Failures are counted by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum FailureKind {
    /// The run returned an error.
    Error,
    /// The run panicked.
    Panic,
    /// The run did not become ready in time.
    StartTimeout,
    /// The run stopped giving signs of life.
    Hang,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Error, Self::Panic, Self::StartTimeout, Self::Hang];

    /// The snake_case name, as `Display` and serde write it: a label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Panic => "panic",
            Self::StartTimeout => "start_timeout",
            Self::Hang => "hang",
        }
    }
}

impl Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Any error, as `?` makes it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// One failure: what kind it was, and the error itself. Cheap to move and to clone: a pointer.
///
/// The error is kept as it came. It is turned into text only when somebody reads it ([`Display`] of the failure), so a
/// crash loop that nobody watches formats nothing.
///
/// Dropping an error runs somebody else's code, and whoever happens to hold the last clone must not pay for it: a panic
/// in the error's `Drop` is caught.
#[derive(Clone)]
pub struct Failure(Arc<Kept>);

struct Kept {
    kind: FailureKind,
    error: Source,
}

/// An error, by whoever owns it.
enum Source {
    Own(BoxError),
    Shared(Arc<dyn Error + Send + Sync>),
    /// In no failure that anybody can see.
    Dropped,
}

/// What was in the place of an error that came later. Dropping it runs the error's own code, so never drop it under a
/// lock. A panic in that code is caught.
#[must_use = "dropping it runs the error's own code"]
pub struct Displaced(Was);

enum Was {
    Nothing,
    /// Nobody else had it, so what came later is in the same memory.
    Ours {
        _dropped: Kept,
    },
    Shared {
        _dropped: Failure,
    },
}

impl fmt::Debug for Displaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let was_there = !matches!(self.0, Was::Nothing);
        f.debug_tuple("Displaced").field(&was_there).finish()
    }
}

impl Failure {
    /// A failure of the given kind. `error` is anything `?` would take: a std or thiserror error, or text.
    #[inline]
    pub fn new(kind: FailureKind, error: impl Into<BoxError>) -> Self {
        let error = Source::Own(error.into());
        Self(Arc::new(Kept { kind, error }))
    }

    /// A failure whose error is already shared.
    #[must_use]
    pub fn from_shared(kind: FailureKind, error: Arc<dyn Error + Send + Sync>) -> Self {
        let error = Source::Shared(error);
        Self(Arc::new(Kept { kind, error }))
    }

    /// In which way the run failed.
    #[must_use]
    #[inline]
    pub fn kind(&self) -> FailureKind {
        self.0.kind
    }

    /// The error itself, to downcast or to walk.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        match &self.0.error {
            Source::Own(error) => &**error,
            Source::Shared(error) => &**error,
            Source::Dropped => &Dropped,
        }
    }

    /// Puts a new failure in a place, and in the memory of the one before it, unless somebody else has a clone of that.
    #[inline]
    pub(crate) fn put(place: &mut Option<Self>, kind: FailureKind, error: BoxError) -> Displaced {
        let error = Source::Own(error);
        let new = Kept { kind, error };
        Displaced(match place {
            None => {
                *place = Some(Self(Arc::new(new)));
                Was::Nothing
            }
            Some(Self(last)) => match Arc::get_mut(last) {
                Some(last) => Was::Ours {
                    _dropped: std::mem::replace(last, new),
                },
                None => Was::Shared {
                    _dropped: Self(std::mem::replace(last, Arc::new(new))),
                },
            },
        })
    }
}

impl Drop for Kept {
    #[inline]
    fn drop(&mut self) {
        // Its place is taken also if it panics. What a destructor's panic carries is of no use to anyone here.
        let dropped = catch_unwind(AssertUnwindSafe(|| self.error = Source::Dropped));
        if let Err(payload) = dropped {
            discard(payload);
        }
    }
}

/// Stands in for an error that is being dropped; nobody can see it.
#[derive(Debug, thiserror::Error)]
#[error("dropped")]
struct Dropped;

/// As [`ErrorChain`].
impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ErrorChain(self.error()).fmt(f)
    }
}

/// Drops what a panic carried. That is the user's, and may panic in turn when it is dropped; what that carries is left
/// alone.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
    }
}

/// Shows an error and everything that caused it: `outer: middle: root`.
///
/// The error's own `Display` is somebody else's code: if it panics, this says so instead of passing the panic on. If it
/// fails, what it had written until then is kept.
///
/// ```
/// use janus_lifecycle::ErrorChain;
///
/// let error = std::io::Error::other("disk full");
/// assert_eq!(ErrorChain(&error).to_string(), "disk full");
/// ```
#[derive(Debug)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let written = catch_unwind(AssertUnwindSafe(|| write_chain(&mut text, self.0)));
        if let Err(payload) = written {
            discard(payload);
            text.push_str("<the error's Display panicked>");
        }
        f.pad(&text)
    }
}

/// Writes `error` and its sources, outermost first. A source whose text already stands at the end, alone or behind a
/// colon, is not repeated: many errors print their source themselves.
fn write_chain(text: &mut String, error: &(dyn Error + 'static)) {
    // `String` never fails to be written to; a `Display` that fails by itself just ends there.
    let append = |text: &mut String, error: &dyn Error| {
        let start = text.len();
        if write!(text, "{error}").is_err() {
            text.push_str("<the error's Display failed>");
        }
        start
    };
    append(text, error);
    let mut source = error.source();
    // Bounded: a chain that runs in a circle must not hang the reader.
    for _ in 0..MAX_SOURCES {
        let Some(error) = source else { return };
        let end = text.len();
        text.push_str(": ");
        let start = append(text, error);
        let (before, own) = (&text[..end], &text[start..]);
        let rest = before.strip_suffix(own);
        let is_repeated = rest.is_some_and(|rest| rest.is_empty() || rest.ends_with(": "));
        if own.is_empty() || is_repeated {
            text.truncate(end);
        }
        source = error.source();
    }
}

/// How deep a chain of sources is followed.
const MAX_SOURCES: usize = 32;

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("kind", &self.kind())
            .field("error", &format_args!("{self}"))
            .finish()
    }
}

/// How many failures of each kind there have been. Counts saturate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailureCounts([u32; FailureKind::ALL.len()]);

impl FailureCounts {
    pub(crate) const fn none() -> Self {
        Self([0; FailureKind::ALL.len()])
    }

    /// How many of this kind.
    #[must_use]
    pub const fn of(&self, kind: FailureKind) -> u32 {
        self.0[kind as usize]
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    pub(crate) const fn record(&mut self, kind: FailureKind) {
        let count = &mut self.0[kind as usize];
        *count = count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    fn chain(texts: &[&'static str]) -> Link {
        let (text, rest) = texts.split_first().unwrap();
        Link {
            text,
            source: (!rest.is_empty()).then(|| Box::new(chain(rest))),
        }
    }

    fn shown(error: impl Into<BoxError>) -> String {
        Failure::new(FailureKind::Error, error).to_string()
    }

    #[test]
    fn the_whole_chain_is_shown() {
        assert_eq!(
            shown(chain(&["outer", "middle", "root"])),
            "outer: middle: root"
        );
    }

    #[test]
    fn a_source_that_the_error_prints_itself_is_not_repeated() {
        assert_eq!(shown(chain(&["outer: root", "root"])), "outer: root");
        assert_eq!(shown(chain(&["root", "root"])), "root");
        assert_eq!(shown(chain(&["exit code 12", "2"])), "exit code 12: 2");
        let timeout = chain(&["connection timeout", "timeout"]);
        assert_eq!(shown(timeout), "connection timeout: timeout");
        assert_eq!(shown(chain(&["outer", ""])), "outer");
    }

    #[test]
    fn text_is_an_error_too() {
        assert_eq!(shown("plain"), "plain");
    }

    #[derive(Debug)]
    struct Rude;
    impl Display for Rude {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no text for you")
        }
    }
    impl Error for Rude {}

    #[test]
    fn a_panicking_display_is_contained() {
        assert_eq!(shown(Rude), "<the error's Display panicked>");
    }

    #[derive(Debug)]
    struct Ring;
    impl Display for Ring {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("round")
        }
    }
    impl Error for Ring {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }

    #[test]
    fn a_chain_in_a_circle_ends() {
        assert_eq!(shown(Ring), "round");
    }

    #[derive(Debug)]
    struct RudeToTheEnd;
    impl Display for RudeToTheEnd {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            std::panic::panic_any(Bomb)
        }
    }
    impl Error for RudeToTheEnd {}

    #[test]
    fn a_panicking_display_whose_payload_panics_in_turn_is_contained() {
        assert_eq!(shown(RudeToTheEnd), "<the error's Display panicked>");
    }

    #[derive(Debug)]
    struct Bomb;
    impl Display for Bomb {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("tick")
        }
    }
    impl Error for Bomb {}
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("boom");
        }
    }

    #[test]
    fn a_panic_in_the_errors_drop_is_contained() {
        let failure = Failure::new(FailureKind::Error, Bomb);
        let last = failure.clone();
        drop(failure);
        assert_eq!(last.to_string(), "tick");
        drop(last);
    }

    #[test]
    fn a_new_failure_takes_the_memory_of_the_one_before_unless_somebody_else_has_that() {
        let error = Arc::new(());
        let alive = Arc::downgrade(&error);
        let mut place = None;
        let displaced = Failure::put(&mut place, FailureKind::Error, Held(error).into());
        assert_eq!(format!("{displaced:?}"), "Displaced(false)");
        let first = place.clone().unwrap();

        let shared = Failure::put(&mut place, FailureKind::Panic, Bomb.into());
        assert_eq!(format!("{shared:?}"), "Displaced(true)");
        drop(shared);
        assert_eq!(first.to_string(), "held");
        drop(first);
        assert!(alive.upgrade().is_none());
        let second = place.as_ref().unwrap();
        let shown = (second.kind(), second.to_string());
        assert_eq!(shown, (FailureKind::Panic, "tick".to_owned()));

        let at = Arc::as_ptr(&second.0);
        let bomb = Failure::put(&mut place, FailureKind::Error, "third".into());
        let third = place.as_ref().unwrap();
        let shown = (third.kind(), third.to_string());
        assert_eq!(shown, (FailureKind::Error, "third".to_owned()));
        assert_eq!(Arc::as_ptr(&third.0), at);
        // A panic of its drop is contained, too.
        drop(bomb);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("held")]
    struct Held(Arc<()>);

    #[test]
    fn counts_are_kept_by_kind_and_saturate() {
        let mut counts = FailureCounts::default();
        counts.record(FailureKind::Panic);
        counts.record(FailureKind::Error);
        counts.record(FailureKind::Panic);
        assert_eq!(counts.of(FailureKind::Panic), 2);
        assert_eq!(counts.of(FailureKind::Hang), 0);
        assert_eq!(counts.total(), 3);
        counts.0 = [u32::MAX; 4];
        counts.record(FailureKind::Hang);
        assert_eq!(counts.of(FailureKind::Hang), u32::MAX);
        assert_eq!(counts.total(), u32::MAX);
    }
}
