//! Server-sent events, as they come in pieces.

/// The longest event that is taken, in bytes.
const LONGEST: usize = 64 << 20;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) event: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// Puts events together.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// What has come of a line that is not whole yet.
    begun: Vec<u8>,
    message: Message,
    has_data: bool,
}

/// An event is too long to be one of this API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Parser {
    /// Takes the next bytes; gives the events that are whole with them.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Message>, TooLong> {
        let mut messages = Vec::new();
        let mut pieces = bytes.split(|it| *it == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.begun.extend_from_slice(piece);
            if self.begun.len() + self.message.data.len() > LONGEST {
                return Err(TooLong);
            }
            if pieces.peek().is_some() {
                let line = std::mem::take(&mut self.begun);
                let line = line.strip_suffix(b"\r").unwrap_or(&line);
                messages.extend(self.line(&String::from_utf8_lossy(line)));
            }
        }
        Ok(messages)
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return std::mem::take(&mut self.has_data).then_some(message);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                if self.has_data {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
                self.has_data = true;
            }
            "event" => value.clone_into(&mut self.message.event),
            "id" => self.message.id = Some(value.to_owned()),
            // Comments keep the connection alive, and say nothing.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = ": hello\n\nevent: log\r\nid: 7\r\ndata: a\r\ndata:b\r\n\r\nretry: 5\n\ndata\n\nevent: x\n\n";

    fn whole() -> Vec<Message> {
        let message = |event: &str, id: Option<&str>, data: &str| Message {
            event: event.to_owned(),
            id: id.map(ToOwned::to_owned),
            data: data.to_owned(),
        };
        vec![message("log", Some("7"), "a\nb"), message("", None, "")]
    }

    #[test]
    fn events_are_read() {
        assert_eq!(Parser::default().take(TEXT.as_bytes()), Ok(whole()));
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_events(cuts in prop::collection::vec(0..TEXT.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.extend([0, TEXT.len()]);
            cuts.sort_unstable();
            let mut parser = Parser::default();
            let mut read = Vec::new();
            for pair in cuts.windows(2) {
                read.extend(parser.take(&TEXT.as_bytes()[pair[0]..pair[1]]).unwrap());
            }
            prop_assert_eq!(read, whole());
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(Parser::default().take(&bytes));
        }
    }
}
