//! Deterministic mutations of good input, for the fuzzers: bit flips, cuts, splices, absurd numbers.

use std::{
    collections::BTreeMap,
    fs,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// No single input may take longer: work is bounded by the input's size.
const LONGEST: Duration = Duration::from_secs(5);

/// Where panics happened that were contained, how often, and the input of the first one.
static CONTAINED: Mutex<BTreeMap<String, (u64, String)>> = Mutex::new(BTreeMap::new());
static INPUT: Mutex<String> = Mutex::new(String::new());

/// The committed seeds.
pub(crate) fn corpus() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus"))
}

/// The contents of all seeds whose names end in `suffix`, by name.
pub(crate) fn seeds(suffix: &str) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(corpus()).expect("the corpus is there");
    let seeds = files.map(|file| file.expect("a file").path());
    seeds
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(suffix)?.to_owned();
            Some((name, fs::read(&path).expect("a seed")))
        })
        .collect()
}

/// Calls `one` with new inputs for `FUZZ_SECONDS` (5 by default), from the seed `FUZZ_SEED`.
///
/// `one` draws its input and says with [`Mutator::note`] what it is, so that a panic names it.
pub(crate) fn fuzz(mut one: impl FnMut(&mut Mutator)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(5));
    let mut mutator = Mutator::new(number("FUZZ_SEED").unwrap_or(1));
    let default = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let mut contained = CONTAINED.lock().unwrap_or_else(PoisonError::into_inner);
        let input = || INPUT.lock().unwrap_or_else(PoisonError::into_inner).clone();
        contained.entry(place).or_insert_with(|| (0, input())).0 += 1;
    }));
    let mut count = 0_u64;
    let mut failure = None;
    while Instant::now() < end && failure.is_none() {
        let begun = Instant::now();
        failure = panic::catch_unwind(AssertUnwindSafe(|| one(&mut mutator))).err();
        if begun.elapsed() > LONGEST {
            failure = Some(Box::new("it took too long"));
        }
        count += 1;
    }
    panic::set_hook(default);
    eprintln!("{count} inputs");
    let contained = CONTAINED.lock().unwrap_or_else(PoisonError::into_inner);
    for (place, (times, input)) in contained.iter() {
        eprintln!("{times} panics at {place}, first with {input}");
    }
    if let Some(failure) = failure {
        let text = failure.downcast_ref::<String>().cloned();
        let text = text.or_else(|| failure.downcast_ref::<&str>().map(|text| (*text).into()));
        let input = INPUT.lock().unwrap_or_else(PoisonError::into_inner);
        panic!("{}\nwith {input}", text.unwrap_or_default());
    }
}

/// Draws inputs.
pub(crate) struct Mutator(fastrand::Rng);

impl Mutator {
    fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Remembers the input at hand for the report of a panic.
    pub(crate) fn note(&self, input: impl FnOnce() -> String) {
        *INPUT.lock().unwrap_or_else(PoisonError::into_inner) = input();
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end.max(1))
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A number at an edge, or any.
    pub(crate) fn number(&mut self) -> u64 {
        let shift = self.0.u32(..64);
        let edge = 1_u64 << shift;
        match self.below(4) {
            0 => edge - 1,
            1 => edge,
            2 => self.0.u64(..) >> shift,
            _ => u64::MAX - (self.0.u64(..) >> shift),
        }
    }

    /// One of the `seeds`, damaged.
    pub(crate) fn bytes(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut out = self.pick(seeds).clone();
        for _ in 0..self.below(6) {
            self.damage(&mut out, seeds);
        }
        out.truncate(64 << 10);
        out
    }

    fn damage(&mut self, out: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(out.len());
        let end = (at + self.below(64)).min(out.len());
        match self.below(9) {
            0 => out.truncate(at),
            1 => drop(out.drain(at..end)),
            2 => {
                let part = out[at..end].to_vec();
                out.splice(at..at, part);
            }
            3 => {
                let other = self.pick(seeds);
                let from = self.below(other.len());
                out.truncate(at);
                out.extend_from_slice(&other[from..]);
            }
            4 => {
                let noise: Vec<u8> = (0..self.below(32)).map(|_| self.0.u8(..)).collect();
                out.splice(at..end, noise);
            }
            5 => {
                let number = self.number().to_be_bytes();
                let length = 1 << self.below(4);
                let bytes = number[8 - length..].iter();
                out.iter_mut()
                    .skip(at)
                    .zip(bytes)
                    .for_each(|(b, n)| *b = *n);
            }
            _ if out.is_empty() => {}
            6 => out[at] = *self.pick(&[0, 1, 3, 0x7f, 0x80, 0xfe, 0xff]),
            _ => out[at] ^= 1 << self.below(8),
        }
    }

    /// One of the `seeds`, with other words and numbers in it.
    pub(crate) fn text(&mut self, seeds: &[Vec<u8>]) -> String {
        let mut text = match self.one_in(3) {
            true => String::from_utf8_lossy(&self.bytes(seeds)).into_owned(),
            false => String::from_utf8_lossy(self.pick::<Vec<u8>>(seeds)).into_owned(),
        };
        for _ in 0..self.below(4) {
            let other = String::from_utf8_lossy(self.pick::<Vec<u8>>(seeds)).into_owned();
            let split = |text: &str| {
                text.split_inclusive([',', '=', ')', '\n', ' '])
                    .map(str::to_owned)
                    .collect()
            };
            let (mut words, others): (Vec<String>, Vec<String>) = (split(&text), split(&other));
            let word = match self.below(3) {
                0 => format!("{}, ", self.number()),
                1 => format!("-{}, ", self.number()),
                _ if others.is_empty() => String::new(),
                _ => self.pick(&others).clone(),
            };
            let at = self.below(words.len());
            match self.below(3) {
                0 => words.insert(at.min(words.len()), word),
                _ if words.is_empty() => {}
                1 => drop(words.remove(at)),
                _ => words[at] = word,
            }
            text = words.concat();
        }
        text
    }

    /// One of the `seeds`, with other values in it.
    pub(crate) fn json(&mut self, seeds: &[Value]) -> Value {
        let mut value = self.pick(seeds).clone();
        for _ in 0..self.below(6) {
            let new = match self.one_in(2) {
                true => self.value(),
                false => {
                    let mut other = self.pick(seeds).clone();
                    self.descend(&mut other).take()
                }
            };
            *self.descend(&mut value) = new;
        }
        value
    }

    fn value(&mut self) -> Value {
        let number = self.number();
        match self.below(9) {
            0 => Value::Null,
            1 => number.into(),
            2 => (number as i64).into(),
            3 => json!(f64::from_bits(number)),
            4 => number.is_multiple_of(2).into(),
            5 => (*self.pick(&["", "\0", "a\0b", "..", "NaN"])).into(),
            6 => "\u{1f3a5}".repeat(self.below(2000)).into(),
            7 => format!("{number:x}").into(),
            _ => json!([[{"a": []}]]),
        }
    }

    /// A node somewhere within `value`.
    fn descend<'a>(&mut self, mut value: &'a mut Value) -> &'a mut Value {
        loop {
            let size = match &*value {
                Value::Array(items) => items.len(),
                Value::Object(fields) => fields.len(),
                _ => 0,
            };
            if size == 0 || self.one_in(6) {
                return value;
            }
            let at = self.below(size);
            let next = match value {
                Value::Array(items) => items.get_mut(at),
                Value::Object(fields) => fields.values_mut().nth(at),
                _ => None,
            };
            value = next.expect("it has so many");
        }
    }
}

/// Bytes as a person can put them into a test.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
