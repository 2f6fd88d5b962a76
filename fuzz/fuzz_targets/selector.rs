//! A label selector is parsed or refused, and one that is parsed has an answer for any labels.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use longshore::domain::selector::LabelSelector;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let Ok(selector) = LabelSelector::parse(&text) else { return };
    // The same text means the same.
    let again = LabelSelector::parse(&text);
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let labels: BTreeMap<_, _> = words.map(|word| (word.to_owned(), word.to_owned())).collect();
    for labels in [BTreeMap::new(), labels] {
        assert_eq!(again.as_ref().map(|again| again.matches(&labels)), Ok(selector.matches(&labels)));
    }
});
