//! A text that is read once from its start, and then again at places of it: a file, or stdin kept on its way. One in
//! UTF-16 is kept in UTF-8, so that its places are those of what is shown.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use tempfile::SpooledTempFile;

use crate::terminal::error::CliError;
use longshore_domain::result::reader::{Decoder, may_be_utf16};

/// How much is read at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// What is kept of a pipe in memory; more goes to a temporary file without a name.
const SPOOL_MEMORY_BYTES: usize = 1 << 20;

/// A text that was read.
#[derive(Debug)]
pub(super) struct SourceText {
    kept: KeptText,
    len: u64,
    is_decoded: bool,
}

#[derive(Debug)]
enum KeptText {
    /// It can be read again where it is.
    File(File),
    /// A copy.
    Spool(SpooledTempFile),
}

impl SourceText {
    /// Reads the file, or stdin if `path` is `-`, and hands each piece to `take`.
    pub(super) fn read(path: &Path, take: impl FnMut(&[u8])) -> Result<Self, CliError> {
        let name = name(path);
        let unreadable = |error: io::Error| CliError::usage(format!("{name} cannot be read: {error}"));
        if path == Path::new("-") {
            return Self::decode(io::stdin().lock(), &name, take);
        }
        let mut file = File::open(path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Self::decode(file, &name, take);
        }
        let mut head = Vec::new();
        (&mut file).take(2).read_to_end(&mut head).map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        if may_be_utf16(&head) {
            return Self::decode(file, &name, take);
        }
        let len = pump(&mut file, &name, take, |_| Ok(()))?;
        Ok(Self { kept: KeptText::File(file), len, is_decoded: false })
    }

    /// The same of what can be read only once, or may be UTF-16.
    fn decode(source: impl Read, name: &str, take: impl FnMut(&[u8])) -> Result<Self, CliError> {
        let mut decoding = Decoding::new(source);
        let text = Self::spool(&mut decoding, name, take)?;
        Ok(Self { is_decoded: decoding.decoder.is_utf16(), ..text })
    }

    /// Reads what can be read only once.
    fn spool(source: impl Read, name: &str, take: impl FnMut(&[u8])) -> Result<Self, CliError> {
        let mut spool = SpooledTempFile::new(SPOOL_MEMORY_BYTES);
        let len = pump(source, name, take, |data| spool.write_all(data))?;
        Ok(Self { kept: KeptText::Spool(spool), len, is_decoded: false })
    }

    /// Whether it was UTF-16, so that its bytes are counted as nobody else would.
    pub(super) fn is_decoded(&self) -> bool {
        self.is_decoded
    }

    /// Its size in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Up to `max` bytes from byte `at` on; fewer at its end.
    pub(super) fn at(&mut self, at: u64, max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let rest = self.len.saturating_sub(at).min(max as u64);
        self.from(at)?.take(rest).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Hands over its first `len` bytes, piece by piece.
    pub(super) fn first(&mut self, len: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut rest = self.from(0)?.take(len);
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            match rest.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => take(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn from(&mut self, at: u64) -> io::Result<&mut dyn Read> {
        // Beyond the end there is nothing; a seek may refuse to go there.
        let at = at.min(self.len);
        match &mut self.kept {
            KeptText::File(file) => file.seek(SeekFrom::Start(at)).map(|_| file as &mut dyn Read),
            KeptText::Spool(spool) => spool.seek(SeekFrom::Start(at)).map(|_| spool as &mut dyn Read),
        }
    }
}

/// A source in UTF-8, whatever it is written in.
#[derive(Debug)]
struct Decoding<R> {
    source: R,
    decoder: Decoder,
    /// What is decoded, of which `at` bytes are handed on.
    ready: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R> Decoding<R> {
    fn new(source: R) -> Self {
        Self { source, decoder: Decoder::default(), ready: Vec::new(), at: 0, ended: false }
    }
}

impl<R: Read> Read for Decoding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.ready.len() && !self.ended {
            self.ready.clear();
            self.at = 0;
            let read = self.source.read(buffer)?;
            let ready = &mut self.ready;
            let take = |text: &[u8]| ready.extend_from_slice(text);
            match buffer.get(..read) {
                None | Some([]) => {
                    self.ended = true;
                    self.decoder.finish(take);
                }
                Some(data) => self.decoder.push(data, take),
            }
        }
        let mut rest = self.ready.get(self.at..).unwrap_or_default();
        let len = rest.read(buffer)?;
        self.at += len;
        Ok(len)
    }
}

/// How the text is called in messages.
pub(super) fn name(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { format!("`{}`", path.display()) }
}

/// Reads to the end; every piece goes to both. Returns how many bytes that were.
fn pump(
    mut source: impl Read,
    name: &str,
    mut take: impl FnMut(&[u8]),
    mut keep: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<u64, CliError> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut len = 0;
    loop {
        let data = match source.read(&mut buffer) {
            Ok(0) => return Ok(len),
            Ok(read) => buffer.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CliError::usage(format!("{name} cannot be read: {error}"))),
        };
        keep(data).map_err(|error| anyhow::anyhow!("{name} cannot be kept in a temporary file: {error}"))?;
        take(data);
        len += data.len() as u64;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A text of the given bytes, as if from a pipe.
    pub(crate) fn text(bytes: &[u8]) -> SourceText {
        SourceText::spool(bytes, "a test", |_| ()).unwrap()
    }

    #[test]
    fn a_pipe_can_be_read_again_whatever_its_size() {
        for len in [0, 10, SPOOL_MEMORY_BYTES + CHUNK_BYTES + 7] {
            let bytes: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let mut seen = Vec::new();
            let mut text = SourceText::spool(bytes.as_slice(), "a test", |data| seen.extend_from_slice(data)).unwrap();
            assert!(seen == bytes && text.len() == len as u64);
            let at = len / 2;
            assert_eq!(text.at(at as u64, 5).unwrap(), bytes[at..(at + 5).min(len)]);
            assert_eq!(text.at(u64::MAX, 5).unwrap(), b"", "beyond the end");
            let mut first = Vec::new();
            text.first(at as u64, |data| first.extend_from_slice(data)).unwrap();
            assert!(first == bytes[..at]);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = SourceText::read(Path::new("/nothing/here"), |_| ()).unwrap_err().to_string();
        assert!(error.contains("`/nothing/here`"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        assert!(SourceText::read(dir.path(), |_| ()).is_err(), "a directory");
    }
}
