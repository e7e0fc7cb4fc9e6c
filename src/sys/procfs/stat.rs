use crate::model::{Pid, ProcId};

/// One line of `/proc/PID/stat`: what is cheap to know of any process, whoever owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    pub pid: Pid,
    /// Chosen by the process; any bytes.
    pub comm: Vec<u8>,
    /// The letter of proc(5); `Z` alone does not mean dead.
    pub state: u8,
    pub ppid: Pid,
    pub pgid: Pid,
    pub sid: Pid,
    /// Device number of the controlling terminal; 0: none, or it was hung up.
    pub tty_nr: i32,
    pub start_ticks: u64,
    pub utime: u64,
    pub stime: u64,
    /// Of children that ended and were waited for.
    pub cutime: u64,
    pub cstime: u64,
    pub threads: u32,
    pub rss_pages: u64,
}

impl Stat {
    /// `comm` may hold `) Z 1 (` and newlines; what follows the *last* parenthesis cannot.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|&byte| byte == b'(')?;
        let close = text.iter().rposition(|&byte| byte == b')')?;
        let pid = number(text.get(..open)?.trim_ascii())?;
        let comm = text.get(open + 1..close)?.to_vec();
        let mut fields = text.get(close + 1..)?.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        let state = *fields.next()?.first()?;
        // Fields 4 to 24 of proc(5), in its order; `skip` counts those of no interest before each.
        let mut next = |skip| fields.nth(skip);
        let (ppid, pgid, sid, tty_nr) = (number(next(0)?)?, number(next(0)?)?, number(next(0)?)?, number(next(0)?)?);
        let (utime, stime) = (number(next(6)?)?, number(next(0)?)?);
        let (cutime, cstime) = (number(next(0)?)?, number(next(0)?)?);
        let threads = number(next(2)?)?;
        let start_ticks = number(next(1)?)?;
        let rss_pages = number(next(1)?)?;
        Some(Self { pid, comm, state, ppid, pgid, sid, tty_nr, start_ticks, utime, stime, cutime, cstime, threads, rss_pages })
    }

    pub fn id(&self) -> ProcId {
        ProcId { pid: self.pid, start_ticks: self.start_ticks }
    }

    pub fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// Threads of the kernel are children of its thread 2, and never exec.
    pub fn is_kernel_thread(&self) -> bool {
        self.pgid == 0 && self.sid == 0 && (self.pid == 2 || self.ppid == 2)
    }

    /// Ended, reaped or not. A main thread that ended while others run shows the same letter as a dead process.
    pub fn is_dead(&self) -> bool {
        self.is_zombie() && self.threads <= 1
    }

    /// It runs or could, or waits for a disk: nothing that another process does is waited for.
    pub fn is_busy(&self) -> bool {
        matches!(self.state, b'R' | b'D')
    }

    pub fn rss_bytes(&self) -> u64 {
        self.rss_pages.saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4096))
    }
}

fn number<N: std::str::FromStr>(field: &[u8]) -> Option<N> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(comm: &[u8]) -> Vec<u8> {
        let tail = b") S 7 8 9 34816 -1 4194304 100 200 3 4 51 52 53 54 20 0 6 0 912345 1000000 77 18446744073709551615 1 1 0\n";
        [b"4711 (", comm, tail].concat()
    }

    fn check(comm: &[u8]) {
        let stat = Stat::parse(&line(comm)).expect("well-formed");
        assert_eq!(stat.comm, comm);
        assert_eq!((stat.pid, stat.state, stat.ppid, stat.pgid, stat.sid, stat.tty_nr), (4711, b'S', 7, 8, 9, 34816));
        assert_eq!((stat.utime, stat.stime, stat.cutime, stat.cstime), (51, 52, 53, 54));
        assert_eq!((stat.threads, stat.start_ticks, stat.rss_pages), (6, 912_345, 77));
    }

    #[test]
    fn a_name_cannot_forge_the_fields_after_it() {
        for comm in [&b"python"[..], b"", b") Z 1 (", b"a\nb", b"\x1b[31m", b"x) R 1 1 1 1", b"(((", b")))", b"\xff\xfe"] {
            check(comm);
        }
    }

    #[test]
    fn a_torn_line_is_no_process() {
        let whole = line(b"python");
        for length in 0..whole.len() - 30 {
            let _ = Stat::parse(&whole[..length]);
        }
        for bad in [&b""[..], b"1", b"1 (", b"1 )(", b"1 (a)", b"x (a) S 1 2 3", b"1 (a) S"] {
            assert_eq!(Stat::parse(bad), None);
        }
    }

    proptest! {
        #[test]
        fn any_name_reads_back(comm in proptest::collection::vec(any::<u8>(), 0..16)) {
            check(&comm);
        }

        #[test]
        fn names_made_of_what_confuses_parsers_read_back(parts in proptest::collection::vec(
            prop_oneof![Just(") Z 1 ("), Just(")"), Just("("), Just("\n"), Just("\x1b"), Just(" "), Just("Z")], 0..6))
        {
            check(parts.concat().as_bytes());
        }

        #[test]
        fn any_bytes_at_all_never_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stat::parse(&text);
        }
    }
}
