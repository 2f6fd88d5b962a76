//! What a program finds that tries out a sandbox, and what follows of it.

use longshore_domain::run::rundir;

/// What a program in the sandbox looks at, with nothing but what each shell has.
pub(super) const SCRIPT: &str = r#"
    while read -r line; do echo "$line"; done < /proc/self/status
    while read -r line; do echo "$line"; done < /proc/self/mountinfo
    for dir in '' /dev; do
        (: > "$dir/longshore-trial") 2>/dev/null && echo "wrote ${dir:-/}"
    done
    exit 0"#;

/// What not every `bwrap` and kernel can do. Found out by trying.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Able {
    /// To bound the size of `/tmp` and of all else that is in memory.
    pub(crate) sizes: bool,
    /// To keep programs from making user namespaces (`--disable-userns`). Where we are root it can't.
    pub(crate) no_more_users: bool,
    /// To filter system calls (`--add-seccomp-fd`).
    pub(crate) filter: bool,
}

/// What a program in the sandbox found as it was tried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trial {
    /// What holds.
    pub(crate) holds: Vec<&'static str>,
    /// What does not.
    pub(crate) lacks: Vec<&'static str>,
    /// Whether processes can be bounded: those of each run, or where we are root those of a user.
    pub(crate) bounds_processes: bool,
}

impl Trial {
    /// What the output of [`SCRIPT`] says, in a sandbox that is to be able to do so much. `is_root`: this process is.
    pub(super) fn judge(found: &str, able: Able, is_root: bool) -> Self {
        let status = |key: &str| {
            let line = found.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.map(str::trim).unwrap_or_default()
        };
        let no_capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
            .iter()
            .all(|set| u64::from_str_radix(status(set), 16).is_ok_and(|set| set == 0));
        let wrote = |what: &str| found.lines().any(|line| line.strip_prefix("wrote ") == Some(what));
        let sized = found.lines().any(|line| {
            let mut fields = line.split(' ');
            fields.any(|field| field == "/dev/shm") && fields.any(|field| field.contains("size="))
        });
        let closed = found.lines().any(|line| {
            let mut fields = line.split(' ');
            fields.any(|field| field == "/proc/sys")
                && fields.next().is_some_and(|options| options.split(',').any(|option| option == "ro"))
        });
        // A user namespace begins to count from nothing, since Linux 5.14. Without one, others of that user count.
        let tried = usize::try_from(rundir::TRIED_PROCESSES).unwrap_or(usize::MAX);
        let threads = found.lines().find_map(|line| line.strip_prefix("threads ")?.parse::<usize>().ok());
        let bounds_processes = threads.is_some_and(|threads| threads < tried && (is_root || threads >= tried / 2));
        let filtered = able.filter && status("Seccomp") == "2";
        let mut trial = Self { bounds_processes, ..Self::default() };
        for (what, holds) in [
            ("no capabilities, and none to be had", no_capabilities),
            ("no new privileges", status("NoNewPrivs") == "1"),
            ("filtered system calls", filtered),
            ("no user namespaces of their own", filtered || able.no_more_users),
            ("a read-only root", !wrote("/")),
            ("a read-only /dev", !wrote("/dev")),
            ("a /dev/shm of 64 MiB", sized),
            ("a read-only /proc/sys", closed),
            ("a bound of processes", bounds_processes),
        ] {
            if holds { &mut trial.holds } else { &mut trial.lacks }.push(what);
        }
        trial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Able = Able { sizes: true, no_more_users: true, filter: true };

    #[test]
    fn a_trial_says_what_holds_and_what_does_not() {
        let strict = "threads 5\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t0\nCapAmb:\t0\nNoNewPrivs:\t1\nSeccomp:\t2\n\
            9 8 0:1 / /dev/shm rw,nosuid - tmpfs tmpfs rw,size=65536k\n9 8 0:1 /sys /proc/sys ro,nosuid - proc proc rw\n";
        assert_eq!(Trial::judge(strict, ALL, false).lacks, [""; 0]);
        let lacks = |from: &str, to: &str| Trial::judge(&strict.replace(from, to), ALL, false).lacks;
        assert_eq!(lacks("CapBnd:\t0", "CapBnd:\t1ffffffffff"), ["no capabilities, and none to be had"]);
        assert_eq!(lacks("NoNewPrivs:\t1", "NoNewPrivs:\t0"), ["no new privileges"]);
        assert_eq!(lacks("Seccomp:\t2", "Seccomp:\t0"), ["filtered system calls"]);
        assert_eq!(lacks(",size=65536k", ""), ["a /dev/shm of 64 MiB"]);
        assert_eq!(lacks("/proc/sys ro", "/proc/sys rw"), ["a read-only /proc/sys"]);
        assert_eq!(lacks("threads 5", "threads 16"), ["a bound of processes"]);
        // Counted with all other processes of the server's user.
        assert_eq!(lacks("threads 5", "threads 0"), ["a bound of processes"]);
        assert_eq!(lacks("NoNewPrivs", "wrote /dev\nNoNewPrivs"), ["a read-only /dev"]);
        // A filter that was there before is not ours.
        let weak = Trial::judge(strict, Able::default(), false);
        assert_eq!(weak.lacks, ["filtered system calls", "no user namespaces of their own"]);
        assert_eq!(
            Trial::judge("", ALL, false).holds,
            ["no user namespaces of their own", "a read-only root", "a read-only /dev"]
        );
    }
}
