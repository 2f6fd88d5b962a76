//! What runs print around their results.

/// SplitMix64: the same numbers everywhere.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// Lines and rests of lines: none holds an object, or opens one that the next byte could belong to.
const NOISE: &[&[u8]] = &[
    b"",
    b"\n",
    b"\r\n",
    b"Loading configuration from /etc/app/config.toml\n",
    b"2026-11-21 12:00:01,123 [INFO] worker.main: it's started\n",
    b"[2026-11-21T12:00:01Z WARN  app] don't \"panic\"\n",
    b"\x1b[1;32mOK\x1b[0m \x1b[2K",
    b"\x1b[33mwarning\x1b[0m: unused variable: `x`\r\n",
    b"\r 10%|#         | 1/10 [00:01<00:09,  1.00it/s]\r100%|##########| 10/10 [00:10<00:00,  1.00it/s]\n",
    b"progress [###       ] 30%\r",
    b"Traceback (most recent call last):\n  File \"/app/main.py\", line 3, in <module>\n    x = d['key']\nKeyError: 'key'\n",
    b"/usr/lib/python3/site.py:1: DeprecationWarning: invalid escape sequence '\\d'\n",
    b"template {name} and {0}, set {x for x in y}, json } ] )\n",
    b"if (x > 3) { return; }\n",
    b"Result: ",
    b"result=",
    b">>> ",
    b"\xff\xfe\x80 broken bytes \xc3\n",
    b"\0\0\0",
    b"\xef\xbb\xbf",
    b"[1, 2, 3]\n",
    b"[]\n",
    "Größe: 10 µm – “fertig” 😀\n".as_bytes(),
    b"a\\b\\\\c \"open quote\n",
    // Not at the start of a line: between two of them all would be one text.
    b"x '''\n",
    b"\"\"\"doc\n",
    b"npm WARN deprecated har-validator@5.1.5: this library is no longer supported\n",
];

/// Objects that come before the last one.
const EARLIER: &[&[u8]] = &[b"{\"early\": true}\n", b"{}\n", b"{\"level\":\"info\",\"msg\":\"hi\"}\r\n", b"{} {}"];

/// Something to stand before a result, or after it.
pub fn noise(random: &mut Random, before: bool) -> Vec<u8> {
    let mut noise = Vec::new();
    for _ in 0..random.below(5) {
        if before && random.below(6) == 0 {
            noise.extend_from_slice(random.pick(EARLIER));
        }
        noise.extend_from_slice(random.pick(NOISE));
    }
    noise
}
