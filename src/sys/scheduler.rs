//! The calling thread before everybody else, for a moment: who runs after processes that fork must not wait for its turn
//! behind them. Each of their sessions counts as much as all of ours, and a priority among ordinary processes says nothing there
//! (sched(7), "The autogroup feature").

#![expect(unsafe_code, reason = "the scheduling policy of a thread")]

use nix::libc;

/// The thread is scheduled first while this lives, where the kernel allows it (`CAP_SYS_NICE`); what it starts is not.
#[derive(Debug)]
pub struct First {
    /// What it returns to; `None` where the kernel did not allow it.
    before: Option<libc::c_int>,
}

impl First {
    pub fn now() -> Self {
        // SAFETY: asks only.
        let before = unsafe { libc::sched_getscheduler(0) };
        // A realtime thread is as good as first, and its priority is somebody's choice.
        let is_ordinary = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE].contains(&before);
        Self { before: Some(before).filter(|_| is_ordinary && set(libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, 1)) }
    }
}

impl Drop for First {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            set(before, 0);
        }
    }
}

fn set(policy: libc::c_int, priority: libc::c_int) -> bool {
    // SAFETY: all zeroes is a value of this structure, and the kernel only reads it.
    unsafe {
        let mut param: libc::sched_param = std::mem::zeroed();
        param.sched_priority = priority;
        libc::sched_setscheduler(0, policy, &raw const param) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// The 41st field of `/proc/PID/stat`, of a child that says it of itself.
    #[expect(clippy::disallowed_methods, reason = "a child as it comes, whatever signals it inherits")]
    fn policy_of_a_child() -> String {
        let said = Command::new("cat").arg("/proc/self/stat").output().expect("it runs").stdout;
        let said = String::from_utf8(said).expect("text");
        said.split_whitespace().nth(40).expect("a policy").to_owned()
    }

    #[test]
    fn afterwards_the_thread_is_scheduled_as_somebody_chose() {
        assert!(set(libc::SCHED_BATCH, 0));
        drop(First::now());
        // SAFETY: asks only.
        assert_eq!(unsafe { libc::sched_getscheduler(0) }, libc::SCHED_BATCH);
    }

    #[test]
    fn what_is_started_meanwhile_is_scheduled_as_everybody() {
        let first = First::now();
        assert_eq!(policy_of_a_child(), "0");
        drop(first);
        // SAFETY: asks only.
        assert_eq!(unsafe { libc::sched_getscheduler(0) }, libc::SCHED_OTHER);
    }
}
