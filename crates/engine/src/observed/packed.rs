//! A run to which nothing more happens, in few bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use lz4_flex::block::{compress_with_dict, decompress_with_dict};

use super::{ObservedRun, RunTraits, StartSeen};
use longshore_domain::name::RunName;
use longshore_domain::run::facts::RunFacts;
use longshore_domain::run::failure::FailureClass;
use longshore_domain::run::spec::Workload;
use longshore_domain::run::{Run, RunState};

/// Samples at most, one for each profile and image: what is more begins anew.
const SAMPLES: usize = 64;
/// Bytes of a sample at most.
const SAMPLE_BYTES: usize = 8 * 1024;
/// How many runs that do not resemble their sample are packed against it before one of them takes its place: so a
/// sample that is kept for few runs adds a sixteenth to what they take.
const UNLIKE: u32 = 16;

/// A run that is settled.
#[derive(Debug)]
pub(crate) struct PackedRun {
    pub(super) name: RunName,
    pub(super) state: RunState,
    pub(super) create_time: Option<Timestamp>,
    labels: Arc<BTreeMap<String, String>>,
    profile: Option<Box<str>>,
    failure_class: Option<FailureClass>,
    seen: Box<[(u32, StartSeen)]>,
    /// The facts as JSON, compressed.
    facts: Box<[u8]>,
    /// How long the JSON is.
    length: usize,
    /// What it was compressed against.
    sample: Arc<[u8]>,
}

/// Of each profile and each image the facts of one run, against which those of others are compressed: for the most
/// part they are the same.
#[derive(Debug, Default)]
pub(crate) struct Samples(HashMap<String, Sample>);

#[derive(Debug)]
struct Sample {
    text: Arc<[u8]>,
    labels: Arc<BTreeMap<String, String>>,
    /// How many runs did not resemble it.
    unlike: u32,
}

impl Samples {
    /// The sample for a run like this one, whose facts are `text`.
    fn like(&mut self, run: &Run, text: &[u8]) -> &mut Sample {
        let key = match &run.effective.workload {
            Workload::Runner { profile } => profile,
            Workload::Container(container) => &container.image,
        };
        if self.0.len() >= SAMPLES && !self.0.contains_key(key) {
            self.0.clear();
        }
        let labels = || Arc::new(run.effective.labels.clone());
        self.0.entry(key.to_owned()).or_insert_with(|| Sample { text: beginning(text), labels: labels(), unlike: 0 })
    }
}

impl Sample {
    /// These facts, compressed against the sample.
    fn compress(&mut self, text: &[u8]) -> (Box<[u8]>, Arc<[u8]>) {
        let (packed, sample) = (compress_with_dict(text, &self.text), Arc::clone(&self.text));
        if packed.len() > text.len() / 2 {
            self.unlike += 1;
        }
        if self.unlike >= UNLIKE {
            (self.text, self.unlike) = (beginning(text), 0);
        }
        (packed.into(), sample)
    }

    /// These labels; the same ones as of the run before, if they are equal.
    fn share(&mut self, labels: &BTreeMap<String, String>) -> Arc<BTreeMap<String, String>> {
        if *self.labels != *labels {
            self.labels = Arc::new(labels.clone());
        }
        Arc::clone(&self.labels)
    }
}

fn beginning(text: &[u8]) -> Arc<[u8]> {
    text.get(..SAMPLE_BYTES).unwrap_or(text).into()
}

impl PackedRun {
    /// `None`: more is known of the run than can be packed.
    pub(super) fn of(observed: &ObservedRun, samples: &mut Samples) -> Option<Self> {
        let text = serde_json::to_vec(&observed.facts).ok()?;
        let RunTraits { name, state, create_time, labels, profile, failure_class, .. } = RunTraits::of(&observed.view);
        let like = samples.like(&observed.view, &text);
        let (facts, sample) = like.compress(&text);
        Some(Self {
            name: name.clone(),
            state,
            create_time,
            labels: like.share(labels),
            profile: profile.map(Into::into),
            failure_class,
            seen: observed.seen().as_slice().into(),
            facts,
            length: text.len(),
            sample,
        })
    }

    pub(super) fn traits(&self) -> RunTraits<'_> {
        let Self { name, state, create_time, labels, profile, failure_class, .. } = self;
        RunTraits {
            name,
            state: *state,
            create_time: *create_time,
            labels,
            profile: profile.as_deref(),
            failure_class: *failure_class,
            // It has ended for good.
            can_be_stopped: false,
            // It would not be settled.
            is_deleted: false,
        }
    }

    /// `None` never is what [`Self::of`] made.
    pub(super) fn observed(&self) -> Option<ObservedRun> {
        let text = decompress_with_dict(&self.facts, self.length, &self.sample);
        let facts: RunFacts = text
            .map_err(|error| error.to_string())
            .and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()))
            .inspect_err(|error| tracing::error!(run = %self.name, %error, "a packed run cannot be read"))
            .ok()?;
        Some(ObservedRun::known(facts, self.seen.to_vec(), Timestamp::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::tests::settled;

    fn observed(facts: RunFacts) -> ObservedRun {
        ObservedRun::new(facts, Timestamp::UNIX_EPOCH)
    }

    /// A run of this image that said this.
    fn run(number: usize, image: &str, message: &str) -> RunFacts {
        let mut facts = settled(&format!("r-{number}"), 3);
        let mut effective = (*facts.submission.effective).clone();
        if let Workload::Container(container) = &mut effective.workload {
            container.image = image.to_owned();
        }
        effective.labels.insert("team".to_owned(), "data".to_owned());
        facts.submission.effective = Arc::new(effective);
        if let Some(record) = &mut facts.record {
            record.message = message.to_owned();
        }
        facts
    }

    #[test]
    fn runs_that_are_alike_take_little_and_share_what_is_equal() {
        let mut samples = Samples::default();
        let packed: Vec<_> = (0..40)
            .map(|number| PackedRun::of(&observed(run(number, "image:1", "done")), &mut samples).unwrap())
            .collect();
        for (number, packed) in packed.iter().enumerate() {
            assert_eq!(packed.observed().unwrap().facts, run(number, "image:1", "done"));
            assert!(packed.facts.len() < packed.length / 6, "{} of {} bytes", packed.facts.len(), packed.length);
            assert!(Arc::ptr_eq(&packed.sample, &samples.0["image:1"].text));
            assert!(Arc::ptr_eq(&packed.labels, &samples.0["image:1"].labels));
        }
    }

    /// A text that nothing resembles, longer than a sample.
    fn noise(seed: usize) -> String {
        let mut state = seed as u64 + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
        };
        (0..3 * SAMPLE_BYTES).map(|_| next()).collect()
    }

    #[test]
    fn all_come_back_however_little_they_resemble_each_other() {
        let mut samples = Samples::default();
        let facts = |number: usize| match number % 3 {
            0 => run(number, "image:1", &noise(number)),
            1 => run(number, &format!("image:{number}"), "done"),
            _ => run(number, "image:1", ""),
        };
        let packed: Vec<_> =
            (0..300).map(|number| PackedRun::of(&observed(facts(number)), &mut samples).unwrap()).collect();
        for (number, packed) in packed.iter().enumerate() {
            assert_eq!(packed.observed().unwrap().facts, facts(number), "{number}");
        }
        assert!(samples.0.len() <= SAMPLES);
        // Runs that nothing resembles keep few samples among them.
        let mut kept: Vec<_> = packed.iter().step_by(3).map(|packed| packed.sample.as_ptr()).collect();
        kept.dedup();
        assert!(kept.len() <= 100 / 16 + 4, "{}", kept.len());
    }
}
