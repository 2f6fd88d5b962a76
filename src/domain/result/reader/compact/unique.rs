//! Leaves one member of each key in every object of a compact JSON text: in the place of the first,
//! with the value of the last.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};

use super::text_len;

/// A member of an object that is open.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// Hash of the key as it is meant, escapes resolved.
    hash: u64,
    /// Where the key begins, with its quote.
    key: usize,
    /// Where the value ends.
    end: usize,
}

/// A part of the text that something else takes the place of.
#[derive(Clone, Copy, Debug)]
struct Edit {
    at: usize,
    end: usize,
    /// What takes its place, elsewhere in the text; empty: nothing.
    from: (usize, usize),
}

/// The text without duplicates and how many there were; `None` if there are none.
pub(super) fn without_duplicates(json: &str) -> Option<(String, u64)> {
    let mut edits = find(json);
    if edits.is_empty() {
        return None;
    }
    edits.sort_unstable_by_key(|edit| edit.at);
    let duplicates = edits.iter().filter(|edit| edit.from.0 == edit.from.1).count();
    Some((applied(json, &edits), duplicates as u64))
}

fn find(json: &str) -> Vec<Edit> {
    let bytes = json.as_bytes();
    let mut edits = Vec::new();
    let mut members: Vec<Member> = Vec::new();
    // For each open bracket where its members begin; `None` for an array.
    let mut open: Vec<Option<usize>> = Vec::new();
    let mut at_key = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let in_object = open.last().copied().flatten();
        match byte {
            b'"' => {
                let text = bytes.get(at..).unwrap_or_default();
                if at_key {
                    members.push(Member { hash: hash(&key(json, at)), key: at, end: at });
                    at_key = false;
                }
                at += text_len(text) - 1;
            }
            b'{' => {
                open.push(Some(members.len()));
                at_key = true;
            }
            b'[' => open.push(None),
            b',' | b'}' if in_object.is_some() => {
                let first = in_object.unwrap_or_default();
                if let Some(member) = members.get_mut(first..).and_then(<[Member]>::last_mut) {
                    member.end = at;
                }
                at_key = byte == b',';
                if byte == b'}' {
                    compare(json, members.get_mut(first..).unwrap_or_default(), &mut edits);
                    members.truncate(first);
                    open.pop();
                }
            }
            b']' => {
                open.pop();
            }
            _ => {}
        }
        at += 1;
    }
    edits
}

/// Finds duplicates among the members of one object.
fn compare(json: &str, members: &mut [Member], edits: &mut Vec<Edit>) {
    members.sort_unstable_by_key(|member| (member.hash, member.key));
    for group in members.chunk_by(|one, other| one.hash == other.hash).filter(|group| group.len() > 1) {
        let Some((first, others)) = group.split_first() else { continue };
        let name = key(json, first.key);
        // Equal hashes of different keys are left alone.
        let same = others.iter().filter(|other| key(json, other.key) == name);
        let mut last = None;
        for member in same {
            // With the comma before it, which is there since it is not the object's first.
            edits.push(Edit { at: member.key - 1, end: member.end, from: (0, 0) });
            last = Some(member);
        }
        if let Some(last) = last {
            let from = (value_start(json, last.key), last.end);
            edits.push(Edit { at: value_start(json, first.key), end: first.end, from });
        }
    }
}

/// Copies the text with its edits. What takes a part's place may have edits of its own, so places to
/// go on at are kept on a stack; every part is copied once at most.
fn applied(json: &str, edits: &[Edit]) -> String {
    let mut out = String::with_capacity(json.len());
    let mut todo = vec![(0, json.len())];
    while let Some((at, end)) = todo.pop() {
        let next = edits.get(edits.partition_point(|edit| edit.at < at)).filter(|edit| edit.at < end);
        let until = next.map_or(end, |edit| edit.at);
        out.push_str(json.get(at..until).unwrap_or_default());
        if let Some(edit) = next {
            todo.push((edit.end, end));
            todo.push(edit.from);
        }
    }
    out
}

/// The key that begins at `at`, escapes resolved.
fn key(json: &str, at: usize) -> Cow<'_, str> {
    let text = json.get(at..).unwrap_or_default();
    let quoted = text.get(..text_len(text.as_bytes())).unwrap_or_default();
    let plain = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if plain.contains('\\') {
        serde_json::from_str(quoted).map_or(Cow::Borrowed(plain), Cow::Owned)
    } else {
        Cow::Borrowed(plain)
    }
}

fn value_start(json: &str, key: usize) -> usize {
    let text = json.as_bytes().get(key..).unwrap_or_default();
    key + text_len(text) + 1
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key.as_bytes());
    hasher.finish()
}
