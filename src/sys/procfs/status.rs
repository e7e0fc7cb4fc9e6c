//! What `/proc/PID/status` says: the user, which signals are ignored or handled, how often a thread gave the processor away.

use super::{Reader, numbered_entries};
use crate::model::{Pid, Signal};
use std::io;

/// A newline in the name is escaped by the kernel here, so a line cannot be forged.
fn field<'t>(text: &'t [u8], name: &[u8]) -> Option<&'t str> {
    let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    std::str::from_utf8(line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())?).ok()
}

fn signals(text: &[u8], name: &[u8]) -> u64 {
    field(text, name).and_then(|word| u64::from_str_radix(word, 16).ok()).unwrap_or(0)
}

fn has(signals: u64, signal: Signal) -> bool {
    signals >> (signal.number() - 1) & 1 == 1
}

impl Reader {
    /// Real user id, and whether SIGHUP is ignored.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn status(&mut self, pid: Pid) -> io::Result<(u32, bool)> {
        let text = self.read(pid, "status")?;
        let uid = field(text, b"Uid:").and_then(|word| word.parse().ok());
        let uid = uid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/status"))?;
        Ok((uid, signals(text, b"SigIgn:") & 1 == 1))
    }

    /// Whether the process has a handler of its own for a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn handles(&mut self, pid: Pid, signal: Signal) -> io::Result<bool> {
        Ok(has(signals(self.read(pid, "status")?, b"SigCgt:"), signal))
    }

    /// How often its threads have waited or made way so far.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn switches(&mut self, pid: Pid) -> io::Result<u64> {
        let mut sum = 0;
        for thread in numbered_entries(&format!("/proc/{pid}/task"))? {
            // A thread that has ended meanwhile counts no more.
            let Ok(text) = self.read_path(format!("/proc/{pid}/task/{thread}/status").as_bytes()) else { continue };
            let count = |name: &[u8]| field(text, name).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
            sum += count(b"voluntary_ctxt_switches:") + count(b"nonvoluntary_ctxt_switches:");
        }
        Ok(sum)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any child will do")]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn handlers_and_switches_are_read_as_the_kernel_has_them() {
        let script = "trap : USR1; echo ready; read line; echo $line; read line";
        let mut child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let pid = i32::try_from(child.id()).expect("a pid");
        let mut reader = Reader::default();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("a pipe")));
        lines.next().expect("a line").expect("text");
        let signal = |name: &str| name.parse::<Signal>().expect("a signal");
        assert!(reader.handles(pid, signal("SIGUSR1")).expect("alive"));
        assert!(!reader.handles(pid, signal("SIGUSR2")).expect("alive"));
        let before = reader.switches(pid).expect("alive");
        std::io::Write::write_all(&mut child.stdin.as_ref().expect("a pipe"), b"go\n").expect("written");
        lines.next().expect("a line").expect("text");
        assert!(reader.switches(pid).expect("alive") > before);
        child.kill().expect("ours");
        child.wait().expect("reaped");
    }
}
