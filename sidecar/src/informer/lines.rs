//! Cuts a watch's body into lines, as they come, without copying a line that lies in one piece.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;

/// An object is 3 MiB at most, and JSON escapes make no more than six times of it.
const LINE_BYTES: usize = 20 << 20;

/// What comes next.
#[derive(Debug)]
pub(super) enum Line {
    /// A line without its end.
    Complete(Bytes),
    /// The body ended as HTTP says, behind a whole line.
    End,
    /// The body broke off.
    Broken(String),
}

/// A body, line by line.
pub(super) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// The buffer has no line end before here.
    searched: usize,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line. Cancelling loses nothing: what was read is in the buffer.
    pub(super) async fn next(&mut self) -> Line {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(self.searched + at + 1);
                line.truncate(self.searched + at);
                self.searched = 0;
                return Line::Complete(line.freeze());
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_BYTES {
                return Line::Broken(format!("a line of more than {LINE_BYTES} bytes"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Line::Broken(format!("the connection broke off: {error}")),
                None if self.buffer.is_empty() => return Line::End,
                None => return Line::Broken("the answer ended in the middle of a line".to_owned()),
            }
        }
    }
}
