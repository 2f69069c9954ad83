//! Standard output. A reader that goes away (`caulk fix | head`) is no error: the process then ends with 0.

use std::io::{ErrorKind, Write};

use crate::exit::{ExitStatus, Failure};

/// What became of a text on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Printed {
    /// All of it was written.
    Whole,
    /// The reader went away.
    PipeClosed,
}

impl Printed {
    /// The status to end with: [`ExitStatus::Clean`] when the reader went away, else `status`.
    pub fn or(self, status: ExitStatus) -> ExitStatus {
        match self {
            Self::Whole => status,
            Self::PipeClosed => ExitStatus::Clean,
        }
    }
}

/// Writes a text to standard output.
///
/// # Errors
/// When it cannot be written for another reason than a closed pipe: a full disk behind a redirection.
pub fn print(text: &str) -> Result<Printed, Failure> {
    write_to(&mut std::io::stdout().lock(), text)
}

/// Writes a text and a line end to standard output.
///
/// # Errors
/// As [`print`].
pub fn line(text: &str) -> Result<Printed, Failure> {
    print(&format!("{text}\n"))
}

fn write_to(out: &mut impl Write, text: &str) -> Result<Printed, Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Printed::Whole),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Printed::PipeClosed),
        Err(error) => Err(Failure::new(ExitStatus::Internal, format!("cannot write to standard output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_clean_and_a_full_disk_is_not() {
        let printed = write_to(&mut Broken(ErrorKind::BrokenPipe), "x").unwrap();
        assert_eq!(printed.or(ExitStatus::FindingsRemain), ExitStatus::Clean);
        assert_eq!(write_to(&mut Broken(ErrorKind::StorageFull), "x").unwrap_err().status, ExitStatus::Internal);
    }

    #[test]
    fn what_is_written_whole_keeps_its_status() {
        let mut out = Vec::new();
        assert_eq!(write_to(&mut out, "x").unwrap().or(ExitStatus::FindingsRemain), ExitStatus::FindingsRemain);
        assert_eq!(out, b"x");
    }
}
