//! What is stored of a run is read or refused, and what is read is written as it was read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore::domain::run::record::Record;
use longshore::domain::run::rundir::{Exit, ProcessIdentity, StoredRun};
use longshore::domain::run::stored;

fuzz_target!(|data: &[u8]| {
    if let Ok(run) = serde_json::from_slice::<StoredRun>(data) {
        let text = serde_json::to_vec(&run).expect("it was read");
        assert_eq!(serde_json::from_slice::<StoredRun>(&text).expect("it was written"), run);
    }
    if let Ok(exit) = serde_json::from_slice::<Exit>(data) {
        let text = serde_json::to_vec(&exit).expect("it was read");
        assert_eq!(serde_json::from_slice::<Exit>(&text).expect("it was written"), exit);
    }
    drop(serde_json::from_slice::<ProcessIdentity>(data));
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(record) = Record::from_json(text)
        && let Ok(written) = record.to_json()
    {
        let read = Record::from_json(&written).expect("it was written");
        assert_eq!(read.state, record.state);
        assert_eq!(read.to_json().ok(), Some(written), "what is written does not change any more");
    }
    if let Ok((spec, effective)) = stored::decode(text) {
        let written = stored::encode(&spec, &effective).expect("it was read");
        assert_eq!(stored::decode(&written).expect("it was written"), (spec, effective));
    }
});
