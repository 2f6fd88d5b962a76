//! Leaves one member of each key in every object of a compact JSON text: in the place of the first,
//! with the value of the last.
//!
//! Whether there are duplicates at all is found in one pass, which holds a few bytes for each key of
//! the objects that are open. Only if there may be some, a second one looks for them.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::{Changes, string_len};

/// In objects of so many keys they are compared one by one; that is faster than hashing them.
const FEW_KEYS: usize = 12;

/// The text without duplicates.
pub(crate) fn unique(text: String, changes: &mut Changes) -> String {
    if !may_have_duplicates(&text) {
        return text;
    }
    let mut text = text;
    // The list of edits is kept shorter than the text: what it has no room for is left to another round.
    let most = text.len() / EDIT_BYTES / 4;
    loop {
        let (mut edits, all) = find(&text, most, changes);
        if !edits.is_empty() {
            edits.sort_unstable_by_key(|edit| edit.at);
            text = applied(&text, &edits);
        }
        if all {
            return text;
        }
    }
}

/// The brackets, commas and keys of a compact JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Open,
    /// A key, from quote to quote.
    Key(usize, usize),
    Close,
}

/// What [`walk`] has to look at.
fn is_mark(byte: u8) -> bool {
    matches!(byte, b'"' | b'{' | b'}' | b'[' | b']' | b',')
}

/// Calls `part` for each part of each object, with its place.
fn walk(text: &[u8], mut part: impl FnMut(usize, Part)) {
    // For each open bracket, whether it is an object's.
    let mut open: Vec<bool> = Vec::new();
    let mut at_key = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if !is_mark(byte) {
            at += text.iter().skip(at).take_while(|byte| !is_mark(**byte)).count();
            continue;
        }
        match byte {
            b'"' => {
                let len = string_len(text.get(at..).unwrap_or_default());
                if at_key {
                    part(at, Part::Key(at, at + len));
                    at_key = false;
                }
                at += len;
                continue;
            }
            b'{' | b'[' => {
                at_key = byte == b'{';
                open.push(at_key);
                if at_key {
                    part(at, Part::Open);
                }
            }
            b'}' | b']' => {
                open.pop();
                at_key = false;
                if byte == b'}' {
                    part(at, Part::Close);
                }
            }
            b',' => at_key = open.last() == Some(&true),
            _ => {}
        }
        at += 1;
    }
}

/// The keys of an object that has many: from quote to quote.
type Keys = HashTable<(u32, u32)>;

/// Whether a key may stand twice in an object. Keys with escapes are not looked at closely.
fn may_have_duplicates(text: &str) -> bool {
    let bytes = text.as_bytes();
    let random = RandomState::new();
    let key = |(start, end): (u32, u32)| bytes.get(start as usize..end as usize).unwrap_or_default();
    // The keys of open objects that have few, and where those of each begin; and those of the others.
    let mut few: Vec<(u32, u32)> = Vec::new();
    let mut objects: Vec<(usize, Option<Keys>)> = Vec::new();
    let mut found = false;
    walk(bytes, |_, part| match part {
        _ if found => {}
        Part::Open => objects.push((few.len(), None)),
        Part::Close => {
            if let Some((first, _)) = objects.pop() {
                few.truncate(first);
            }
        }
        Part::Key(start, end) => {
            let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) else { return };
            let Some((first, many)) = objects.last_mut() else { return };
            let name = key((start, end));
            if memchr::memchr(b'\\', name).is_some() {
                found = true;
                return;
            }
            if let Some(many) = many {
                found = !insert(many, (start, end), &random, key);
                return;
            }
            let others = few.get(*first..).unwrap_or_default();
            found = others.iter().any(|other| key(*other) == name);
            few.push((start, end));
            if few.len() - *first > FEW_KEYS {
                let mut table = HashTable::new();
                for span in few.drain(*first..) {
                    insert(&mut table, span, &random, key);
                }
                *many = Some(table);
            }
        }
    });
    found
}

/// Whether there was no such key.
fn insert<'a>(table: &mut Keys, span: (u32, u32), random: &RandomState, key: impl Fn((u32, u32)) -> &'a [u8]) -> bool {
    let name = key(span);
    let entry = table.entry(random.hash_one(name), |other| key(*other) == name, |other| random.hash_one(key(*other)));
    match entry {
        hashbrown::hash_table::Entry::Occupied(_) => false,
        hashbrown::hash_table::Entry::Vacant(vacant) => {
            vacant.insert(span);
            true
        }
    }
}

/// A part of the text that something else takes the place of.
#[derive(Clone, Copy, Debug)]
struct Edit {
    at: u32,
    end: u32,
    /// What takes its place, elsewhere in the text; empty: nothing.
    from: (u32, u32),
}

const EDIT_BYTES: usize = size_of::<Edit>();

/// The members of one key.
#[derive(Clone, Copy, Debug)]
struct Same {
    first: u32,
    last: u32,
}

/// The edits of objects until there are `most` or more, and whether these are all.
fn find(text: &str, most: usize, changes: &mut Changes) -> (Vec<Edit>, bool) {
    let random = RandomState::new();
    let mut edits = Vec::with_capacity(most);
    let mut all = true;
    // Where the keys of open objects begin, and where among them those of each object do.
    let mut members: Vec<u32> = Vec::new();
    let mut objects: Vec<usize> = Vec::new();
    walk(text.as_bytes(), |at, part| match part {
        Part::Open => objects.push(members.len()),
        Part::Key(start, _) => members.extend(u32::try_from(start)),
        Part::Close => {
            let first = objects.pop().unwrap_or_default();
            let end = u32::try_from(at).unwrap_or(u32::MAX);
            if edits.is_empty() || edits.len() < most {
                let members = members.get(first..).unwrap_or_default();
                changes.duplicates += compare(text, members, end, &random, &mut edits);
            } else {
                all = false;
            }
            members.truncate(first);
        }
    });
    (edits, all)
}

/// Finds duplicates among the members of one object, which ends at `end`; says how many.
fn compare(text: &str, members: &[u32], end: u32, random: &RandomState, edits: &mut Vec<Edit>) -> u64 {
    if members.len() < 2 {
        return 0;
    }
    let start = |index: u32| members.get(index as usize).copied().unwrap_or(end);
    // A comma stands between members.
    let end_of = |index: u32| members.get(index as usize + 1).map_or(end, |next| next - 1);
    let mut table: HashTable<Same> = HashTable::new();
    let mut duplicates = Vec::new();
    for index in 0..u32::try_from(members.len()).unwrap_or(u32::MAX) {
        let name = key(text, start(index));
        let hash = random.hash_one(&*name);
        let same = |other: &Same| key(text, start(other.first)) == name;
        match table.find_mut(hash, same) {
            Some(same) => {
                same.last = index;
                duplicates.push(index);
            }
            None => {
                let rehash = |other: &Same| random.hash_one(&*key(text, start(other.first)));
                table.insert_unique(hash, Same { first: index, last: index }, rehash);
            }
        }
    }
    for Same { first, last } in table.into_iter().filter(|same| same.first != same.last) {
        let from = (value_start(text, start(last)), end_of(last));
        edits.push(Edit { at: value_start(text, start(first)), end: end_of(first), from });
    }
    let mut run: Option<Edit> = None;
    for index in &duplicates {
        // With the comma before it, which is there since it is not the object's first.
        let (at, end) = (start(*index) - 1, end_of(*index));
        match &mut run {
            Some(run) if run.end == at => run.end = end,
            _ => edits.extend(run.replace(Edit { at, end, from: (0, 0) })),
        }
    }
    edits.extend(run);
    duplicates.len() as u64
}

/// Copies the text with its edits. What takes a part's place may have edits of its own, so places to
/// go on at are kept on a stack; every part is copied once at most.
fn applied(text: &str, edits: &[Edit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut todo = vec![(0, u32::try_from(text.len()).unwrap_or(u32::MAX))];
    while let Some((at, end)) = todo.pop() {
        let next = edits.get(edits.partition_point(|edit| edit.at < at)).filter(|edit| edit.at < end);
        let until = next.map_or(end, |edit| edit.at);
        out.push_str(text.get(at as usize..until as usize).unwrap_or_default());
        if let Some(edit) = next {
            todo.push((edit.end, end));
            todo.push(edit.from);
        }
    }
    out
}

/// The key that begins at `at`, escapes resolved.
fn key(text: &str, at: u32) -> Cow<'_, str> {
    let text = text.get(at as usize..).unwrap_or_default();
    let quoted = text.get(..string_len(text.as_bytes())).unwrap_or_default();
    let plain = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if plain.contains('\\') {
        serde_json::from_str(quoted).map_or(Cow::Borrowed(plain), Cow::Owned)
    } else {
        Cow::Borrowed(plain)
    }
}

fn value_start(text: &str, key: u32) -> u32 {
    let rest = text.as_bytes().get(key as usize..).unwrap_or_default();
    key + u32::try_from(string_len(rest)).unwrap_or_default() + 1
}
