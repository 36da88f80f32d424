//! W3C Trace Context (level 1): which trace a request, an entity's version, a hook call and a record belong to.
//!
//! Owns `traceparent` in its forms: as a header, as an annotation of the object that a write stored, and what is remembered of the latter. Random numbers come
//! from the caller. `http`, the store, the bridge and the hooks use it; what is told to a collector is [`span`]'s.

pub mod recent;
pub mod span;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use contract::names::TRACEPARENT;
use serde::Deserialize;

use crate::version::Version;

/// `VERSION-TRACE-PARENT-FLAGS`.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;

/// A place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    sampled: bool,
}

/// Why a text is no `traceparent`. It is then ignored, as the standard wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent of W3C Trace Context")]
pub struct NoTrace;

impl TraceContext {
    /// Where a trace begins; `None` for a number that is none, which is zero. Of a trace that begins here, the part `ratio` is sampled.
    pub fn root(trace: u128, span: u64, ratio: f64) -> Option<Self> {
        // The rightmost 56 bits are the random ones, whoever made the number; a double holds 53.
        let dice = u64::try_from(trace & ((1 << 56) - 1)).unwrap_or_default() >> 3;
        let sampled = (dice as f64 / (1_u64 << 53) as f64) < ratio;
        (trace != 0 && span != 0).then_some(Self { trace, span, sampled })
    }

    /// A place below this one: what the parent decided about sampling holds.
    #[must_use]
    pub fn child(self, span: u64) -> Self {
        Self { span: if span == 0 { 1 } else { span }, ..self }
    }

    /// The trace's number.
    pub fn trace(self) -> u128 {
        self.trace
    }

    /// The number of the span, which is the parent of what is below.
    pub fn span(self) -> u64 {
        self.span
    }

    /// Whether anybody is told of it.
    pub fn sampled(self) -> bool {
        self.sampled
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl FromStr for TraceContext {
    type Err = NoTrace;

    fn from_str(text: &str) -> Result<Self, NoTrace> {
        let head = text.get(..LENGTH).ok_or(NoTrace)?;
        let mut parts = head.split('-');
        let mut number = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits).ok_or(NoTrace)?;
            let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            if !part.bytes().all(lower) {
                return Err(NoTrace);
            }
            u128::from_str_radix(part, 16).map_err(|_| NoTrace)
        };
        let (version, trace, span, flags) = (number(2)?, number(32)?, number(16)?, number(2)?);
        // A version to come may have more behind these, which is skipped; this one may not.
        let rest = text.get(LENGTH..).unwrap_or_default();
        let ends = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
        let span = u64::try_from(span).map_err(|_| NoTrace)?;
        if version == 0xff || !ends || trace == 0 || span == 0 {
            return Err(NoTrace);
        }
        Ok(Self { trace, span, sampled: flags & u128::from(SAMPLED) != 0 })
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    object: Object<'a>,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    resource_version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    annotations: Annotations<'a>,
}

#[derive(Deserialize)]
struct Annotations<'a> {
    // contract::names::TRACEPARENT; an attribute takes no constant.
    #[serde(borrow, rename = "k8sasbackend.com/traceparent")]
    traceparent: Cow<'a, str>,
}

/// The version of an object (0 where it is not stored yet), and the trace of the write that made it, from the object's JSON; absent where it is in none.
pub fn of_object(object: &[u8]) -> Option<(Version, TraceContext)> {
    is_mentioned(object).then_some(())?;
    serde_json::from_slice::<Object<'_>>(object).ok()?.trace()
}

/// The same of a line of a watch.
pub fn of_watch_line(line: &[u8]) -> Option<(Version, TraceContext)> {
    is_mentioned(line).then_some(())?;
    serde_json::from_slice::<Line<'_>>(line).ok()?.object.trace()
}

/// Most objects are in no trace, and to look for the word costs a fraction of reading them.
fn is_mentioned(text: &[u8]) -> bool {
    let word = TRACEPARENT.as_bytes();
    text.windows(word.len()).any(|window| window == word)
}

impl Object<'_> {
    fn trace(self) -> Option<(Version, TraceContext)> {
        let Metadata { resource_version, annotations } = self.metadata;
        let version = resource_version.and_then(|version| version.parse().ok()).unwrap_or(Version(0));
        Some((version, annotations.traceparent.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_the_standard_allows_is_read_and_nothing_else() {
        for good in [
            EXAMPLE.to_owned(),
            EXAMPLE.replace("-01", "-00"),
            EXAMPLE.replace("-01", "-ff"),
            EXAMPLE.replacen("00", "cc", 1),
            EXAMPLE.replacen("00", "cc", 1) + "-what-the-future-brings",
        ] {
            assert!(good.parse::<TraceContext>().is_ok(), "{good}");
        }
        for bad in [
            String::new(),
            EXAMPLE.to_uppercase(),
            EXAMPLE.replacen("00", "ff", 1),
            EXAMPLE.to_owned() + "-more",
            EXAMPLE.replacen("00", "cc", 1) + ".more",
            EXAMPLE.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            EXAMPLE.replace("b7ad6b7169203331", &"0".repeat(16)),
            EXAMPLE.replace('-', "_"),
            EXAMPLE.replace("b7ad6b7169203331", "b7ad6b71692033é"),
            EXAMPLE[..54].to_owned(),
            format!(" {EXAMPLE}"),
            EXAMPLE.replace("-b7", "-+7"),
        ] {
            assert_eq!(bad.parse::<TraceContext>(), Err(NoTrace), "{bad}");
        }
    }

    #[test]
    fn a_child_is_in_the_same_trace_and_sampled_as_its_parent() {
        let parent: TraceContext = EXAMPLE.parse().unwrap();
        let child = parent.child(7);
        assert_eq!((child.trace(), child.sampled(), child.span()), (parent.trace(), true, 7));
        assert_eq!(child.to_string(), "00-0af7651916cd43dd8448eb211c80319c-0000000000000007-01");
        assert_eq!(parent.child(0).span(), 1, "zero is no span");
    }

    #[test]
    fn a_ratio_samples_by_the_trace_s_number_alone() {
        let sampled = |trace, ratio| TraceContext::root(trace, 1, ratio).unwrap().sampled();
        assert!(sampled(1, 0.5) && !sampled(u128::MAX, 0.5));
        assert!(sampled(u128::MAX, 1.0) && !sampled(1 << 100 | 1, 0.0) && !sampled(1, f64::NAN));
        assert_eq!((TraceContext::root(0, 1, 1.0), TraceContext::root(1, 0, 1.0)), (None, None));
    }

    #[test]
    fn an_object_s_trace_is_its_annotation_s_wherever_else_the_word_stands() {
        let object = |metadata: &str| {
            format!(
                r#"{{"metadata":{{"resourceVersion":"7"{metadata}}},"spec":{{"k8sasbackend.com/traceparent":"{EXAMPLE}"}}}}"#
            )
        };
        let annotated = format!(r#","annotations":{{"x":"1","k8sasbackend.com/traceparent":"{EXAMPLE}"}}"#);
        assert_eq!(of_object(object(&annotated).as_bytes()), Some((Version(7), EXAMPLE.parse().unwrap())));
        for without in [
            "",
            r#","annotations":{}"#,
            r#","annotations":null"#,
            r#","annotations":{"k8sasbackend.com/traceparent":"x"}"#,
        ] {
            assert_eq!(of_object(object(without).as_bytes()), None, "{without}");
        }
        assert_eq!(of_object(b"k8sasbackend.com/traceparent"), None);
        let line = format!(r#"{{"type":"ADDED","object":{}}}"#, object(&annotated));
        assert_eq!(of_watch_line(line.as_bytes()), of_object(object(&annotated).as_bytes()));
        assert_eq!(of_watch_line(object(&annotated).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(trace in 1..u128::MAX, span in 1..u64::MAX, ratio in 0.0..1.0_f64) {
            let context = TraceContext::root(trace, span, ratio).unwrap();
            prop_assert_eq!(context.to_string().parse(), Ok(context));
        }

        #[test]
        fn whatever_comes_is_read_or_ignored(text in "\\PC{0,80}|[0-9a-f-]{50,60}|(00|01)-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3](-x)?") {
            if let Ok(context) = text.parse::<TraceContext>() {
                prop_assert_eq!(&context.to_string()[3..52], &text[3..52]);
            }
        }
    }
}
