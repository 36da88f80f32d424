//! Which answers are allowed when: in a fault some requests may fail, and must say so as the specification has it; else none may.

use super::Span;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// A read from the cache: the API server is not needed.
    Cached,
    /// A read that waits for a version, or goes past the cache.
    Fresh,
    /// A write.
    Write,
}

/// An answer, or that there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Of whom it was asked.
    pub sidecar: usize,
    /// What for.
    pub wish: Wish,
    /// When.
    pub span: Span,
    /// Absent: the connection broke off.
    pub status: Option<u16>,
    /// Whether `Retry-After` says when to come back.
    pub retry_after: bool,
    /// Whether an error is a problem in JSON.
    pub problem: bool,
}

/// What is wrong with the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The API server, its store or the way there.
    Platform,
    /// This sidecar is away, or has just come back.
    Sidecar(usize),
}

/// From when to when it was so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// What.
    pub trouble: Trouble,
    /// From before it began until all was seen to be well again.
    pub span: Span,
}

/// What is wrong with the answers, one sentence each, at most `most`.
pub fn wrong(replies: &[Reply], windows: &[Window], most: usize) -> Vec<String> {
    replies.iter().filter_map(|reply| Some(format!("{}: {reply:?}", fault(reply, windows)?))).take(most).collect()
}

fn fault(reply: &Reply, windows: &[Window]) -> Option<&'static str> {
    let during = |trouble| {
        let meets =
            |window: &Window| window.span.call <= reply.span.answered && reply.span.call <= window.span.answered;
        windows.iter().any(|window| window.trouble == trouble && meets(window))
    };
    let restarted = during(Trouble::Sidecar(reply.sidecar));
    let Some(status) = reply.status else {
        return (!restarted).then_some("no answer, though the sidecar was there");
    };
    if status >= 400 && !reply.problem {
        return Some("an error that is no problem+json");
    }
    if matches!(status, 429 | 503) && !reply.retry_after {
        return Some("it does not say when to come back");
    }
    let allowed = match (reply.wish, status) {
        (Wish::Cached | Wish::Fresh, 200 | 404) | (Wish::Write, 200 | 201 | 204 | 404 | 409 | 412) => true,
        (Wish::Cached, 503) => restarted,
        (Wish::Fresh | Wish::Write, 429 | 503 | 504) => restarted || during(Trouble::Platform),
        _ => false,
    };
    (!allowed).then_some("not an answer for then")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLATFORM: Window = Window { trouble: Trouble::Platform, span: Span { call: 100, answered: 200 } };
    const SIDECAR: Window = Window { trouble: Trouble::Sidecar(1), span: Span { call: 300, answered: 400 } };

    fn reply(wish: Wish, status: u16, at: u64) -> Reply {
        let span = Span { call: at, answered: at + 10 };
        Reply { sidecar: 0, wish, span, status: Some(status), retry_after: true, problem: status >= 400 }
    }

    fn right(reply: &Reply) -> bool {
        wrong(std::slice::from_ref(reply), &[PLATFORM, SIDECAR], 9).is_empty()
    }

    #[test]
    fn writes_and_fresh_reads_may_fail_in_a_fault_and_reads_from_a_cache_never() {
        for (wish, status, at, allowed) in [
            (Wish::Write, 201, 10, true),
            (Wish::Write, 412, 10, true),
            (Wish::Write, 503, 10, false),
            (Wish::Write, 503, 95, true),
            (Wish::Write, 503, 195, true),
            (Wish::Write, 503, 201, false),
            (Wish::Write, 504, 150, true),
            (Wish::Write, 500, 150, false),
            (Wish::Write, 502, 150, false),
            (Wish::Fresh, 429, 150, true),
            (Wish::Fresh, 504, 50, false),
            (Wish::Cached, 404, 150, true),
            (Wish::Cached, 503, 150, false),
            (Wish::Cached, 504, 150, false),
        ] {
            assert_eq!(right(&reply(wish, status, at)), allowed, "{wish:?} {status} at {at}");
        }
    }

    #[test]
    fn only_a_sidecar_that_was_away_may_not_answer() {
        let none = |sidecar, at| Reply { sidecar, status: None, ..reply(Wish::Cached, 200, at) };
        assert!(right(&none(1, 350)) && !right(&none(0, 350)) && !right(&none(1, 150)));
        let unfilled = |sidecar| Reply { sidecar, ..reply(Wish::Cached, 503, 350) };
        assert!(right(&unfilled(1)) && !right(&unfilled(0)));
    }

    #[test]
    fn an_error_says_what_it_is_and_when_to_come_back() {
        assert!(!right(&Reply { problem: false, ..reply(Wish::Write, 503, 150) }));
        assert!(!right(&Reply { retry_after: false, ..reply(Wish::Write, 503, 150) }));
        assert!(!right(&Reply { retry_after: false, ..reply(Wish::Write, 429, 150) }));
        assert!(right(&Reply { retry_after: false, ..reply(Wish::Write, 504, 150) }), "not to be sent again unseen");
    }
}
