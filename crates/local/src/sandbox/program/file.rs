//! What the first bytes of a file say of how it is executed. Pure.

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};

/// Longest `#!` line that Linux reads, in bytes.
const LINE_MAX: usize = 255;

/// How a file is executed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// By the interpreter of its `#!` line, with that one argument (empty: none).
    Script {
        /// As it is written there.
        interpreter: String,
        /// All that follows.
        argument: String,
    },
    /// Its `#!` line ends in CR LF; this stands between.
    CrLf(String),
    /// By the loader that it names.
    Elf {
        /// Path of the loader.
        loader: String,
    },
    /// Text that nothing executes.
    Text,
    /// The same, and perhaps for that: it begins with a byte order mark.
    ByteOrderMark,
    /// By the kernel alone, or by what is registered for it.
    Other,
}

/// Judges a file by its first bytes.
pub(super) fn kind(head: &[u8]) -> FileKind {
    if let Some(rest) = head.strip_prefix(b"#!") {
        return script(rest);
    }
    if head.starts_with(b"\xef\xbb\xbf#!") {
        return FileKind::ByteOrderMark;
    }
    if head.starts_with(b"\x7fELF") {
        return loader(head).map_or(FileKind::Other, |loader| FileKind::Elf { loader });
    }
    // What is registered with the kernel (binfmt_misc) has some mark that is no text.
    let text = head.get(..LINE_MAX).unwrap_or(head);
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace() && *byte != 0x1b;
    let is_text = match std::str::from_utf8(text) {
        Ok(_) => true,
        // Cut within a character.
        Err(error) => error.error_len().is_none(),
    };
    if is_text && !text.iter().any(is_control) { FileKind::Text } else { FileKind::Other }
}

fn script(rest: &[u8]) -> FileKind {
    let rest = rest.get(..LINE_MAX).unwrap_or(rest);
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let blank = [' ', '\t'];
    if let Some(line) = line.strip_suffix('\r') {
        return FileKind::CrLf(line.trim_matches(blank).to_owned());
    }
    let line = line.trim_matches(blank);
    let (interpreter, argument) = line.split_once(blank).unwrap_or((line, ""));
    FileKind::Script { interpreter: interpreter.to_owned(), argument: argument.trim_matches(blank).to_owned() }
}

/// The loader of a dynamically linked program.
fn loader(head: &[u8]) -> Option<String> {
    // Those are judged that this machine executes by itself.
    if cfg!(target_pointer_width = "64") && head.get(4) == Some(&2) {
        loader_in::<FileHeader64<Endianness>>(head)
    } else {
        loader_in::<FileHeader32<Endianness>>(head)
    }
}

fn loader_in<H: FileHeader<Endian = Endianness>>(head: &[u8]) -> Option<String> {
    let header = H::parse(head).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, head).ok()?;
    let loader = segments.iter().find_map(|segment| segment.interpreter(endian, head).ok().flatten())?;
    String::from_utf8(loader.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_by_their_first_bytes() {
        let script = |interpreter: &str, argument: &str| FileKind::Script {
            interpreter: interpreter.to_owned(),
            argument: argument.to_owned(),
        };
        for (head, expected) in [
            (&b"#!/bin/sh\necho"[..], script("/bin/sh", "")),
            (b"#! /usr/bin/env  python3 \nx", script("/usr/bin/env", "python3")),
            (b"#!/usr/bin/env -S python3 -u", script("/usr/bin/env", "-S python3 -u")),
            (b"#!\n", script("", "")),
            (b"#!/bin/sh\r\necho", FileKind::CrLf("/bin/sh".to_owned())),
            (b"#!/usr/bin/env python3\r\n", FileKind::CrLf("/usr/bin/env python3".to_owned())),
            (b"echo hello\n", FileKind::Text),
            ("print('grüße')\n".as_bytes(), FileKind::Text),
            (b"", FileKind::Text),
            (b"\xef\xbb\xbf#!/bin/sh\n", FileKind::ByteOrderMark),
            (b"PK\x03\x04", FileKind::Other),
            (b"\x7fELF", FileKind::Other),
            (b"\x00asm", FileKind::Other),
            (b"\xfe\xed", FileKind::Other),
        ] {
            assert_eq!(kind(head), expected, "{:?}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn a_long_first_line_is_cut_and_a_character_may_be_cut() {
        let FileKind::Script { interpreter, .. } = kind(&[b"#!/".as_slice(), &[b'x'; 1000]].concat()) else { panic!() };
        assert_eq!(interpreter.len(), LINE_MAX);
        assert_eq!(kind("ü".repeat(500).as_bytes()), FileKind::Text);
    }

    #[test]
    fn this_test_names_its_loader() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let head = &own[..own.len().min(64 * 1024)];
        match kind(head) {
            FileKind::Elf { loader } => assert!(crate::sys::look(std::path::Path::new(&loader)).is_there(), "{loader}"),
            // A static build has none.
            other => assert_eq!(other, FileKind::Other),
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>) {
            let _ = kind(&bytes);
            let _ = kind(&[b"\x7fELF\x02\x01\x01".as_slice(), &bytes].concat());
        }
    }
}
