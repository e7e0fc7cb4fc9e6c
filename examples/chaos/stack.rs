//! The stack that is maltreated, who stands by and must not be touched, and what `/proc` shows of both.

use crate::harness::Failure;
use crate::harness::process::{self, Id, Process, text_of};
use crate::harness::project::Place;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

pub const SERVICES: usize = 10;
const KINDS: [&str; 4] = ["process", "pool", "executor", "daemon"];
const POOL: &str = include_str!("pool.py");
const START: Duration = Duration::from_secs(120);

pub fn name(service: usize) -> String {
    format!("p{service}")
}

/// Or ends without them: a pool is whole, or on its way out.
pub fn replaces_its_members(service: usize) -> bool {
    matches!(KINDS[service % KINDS.len()], "pool" | "executor")
}

/// The projects in their folders, and the decoys that live.
pub struct Stack {
    pub place: Place,
    pub root: PathBuf,
    pub other: PathBuf,
    /// What each is, for people.
    pub decoys: BTreeMap<Id, String>,
    children: Vec<Child>,
}

/// One look at everything that is the stack's.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Supervisor and keeper.
    pub devstack: Vec<Process>,
    pub workers: Vec<Worker>,
    /// Ended, not collected, and children of devstack or of this program.
    pub zombies: Vec<Process>,
}

#[derive(Debug, Clone)]
pub struct Worker {
    pub process: Process,
    /// The number that all processes of a run inherit.
    pub mark: Option<u64>,
    /// `project/service/run`, unless it was wiped.
    pub run: Option<String>,
    pub is_main: bool,
}

impl Worker {
    /// Of a main process.
    pub fn service(&self) -> Option<&str> {
        self.run.as_deref()?.split('/').nth(1)
    }
}

impl Look {
    pub fn mains(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().filter(|it| it.is_main)
    }

    pub fn mains_of(&self, service: usize) -> Vec<&Worker> {
        let name = name(service);
        self.mains().filter(|it| it.service() == Some(&name)).collect()
    }

    /// Everything of the run that a service's main process leads, that one first.
    pub fn run_of(&self, service: usize) -> Vec<&Worker> {
        let mains = self.mains_of(service);
        let Some(main) = mains.first() else { return Vec::new() };
        let members = self.workers.iter().filter(|it| it.mark == main.mark && !it.is_main);
        std::iter::once(*main).chain(members).collect()
    }

    /// The keeper is the parent of the supervisor.
    pub fn pair(&self) -> Option<(Id, Id)> {
        let keeper = self.devstack.iter().find(|it| self.devstack.iter().all(|other| other.id.pid != it.ppid))?;
        // A child that is held at its gate looks like its supervisor.
        let supervisor = self.devstack.iter().filter(|it| it.ppid == keeper.id.pid).min_by_key(|it| it.id.start)?;
        Some((keeper.id, supervisor.id))
    }

    pub fn lines(&self) -> String {
        let mut text = String::new();
        for it in &self.devstack {
            let _ = writeln!(text, "  devstack   {}", it.line());
        }
        for it in &self.workers {
            let what = if it.is_main { "main" } else { "member" };
            let run = it.run.as_deref().unwrap_or("-");
            let _ = writeln!(text, "  {what:<10} {run} mark {:x?} {}", it.mark, it.process.line());
        }
        for it in &self.zombies {
            let _ = writeln!(text, "  zombie     {}", it.line());
        }
        text
    }
}

impl Stack {
    pub fn start() -> Result<Self, Failure> {
        let mut place = Place::new()?;
        for folder in ["semaphores", "ready", "stranger"] {
            fs::create_dir(place.base.join(folder))?;
        }
        let root = place.project("chaos", &config(&place.base))?;
        let other = place.project(
            "other",
            "[defaults]\nready = { log = 'started', timeout = '120s' }\n[services.p0]\ncommand = 'python3 pool.py p0 process'\n",
        )?;
        for folder in [&root, &other, &place.base.join("stranger")] {
            fs::write(folder.join("pool.py"), POOL)?;
        }
        succeed(&mut place, &other, "start")?;
        let mut stack = Self { place, root, other, decoys: BTreeMap::new(), children: Vec::new() };
        stack.start_decoys()?;
        succeed(&mut stack.place, &stack.root, "start")?;
        Ok(stack)
    }

    fn start_decoys(&mut self) -> Result<(), Failure> {
        let stranger = self.place.base.join("stranger");
        let mut pools = Vec::new();
        // The second is a pool whose worker is dead in a moment, and that is nobody's business here.
        for service in ["p0", "p1"] {
            let mut command = self.place.command("python3", &stranger);
            let output = fs::File::create(stranger.join(service))?;
            self.children.push(command.args(["pool.py", service, "process"]).stdout(output).spawn()?);
            pools.extend(self.children.last().map(|child| child.id().cast_signed()));
        }
        // Its text names a service, and it stands in the project.
        let mut mention = self.place.command("bash", &self.root);
        self.children.push(mention.args(["-c", "exec -a 'python3 pool.py p0 process' sleep 86400"]).spawn()?);
        let mut editor = self.place.command("tail", &self.root);
        self.children.push(editor.args(["-f", "pool.py"]).spawn()?);
        let end = Instant::now() + START;
        while !["p0", "p1"].iter().all(|service| fs::read_to_string(stranger.join(service)).is_ok_and(|said| said.contains("started"))) {
            if Instant::now() > end {
                return Err("the strangers' pools did not start".into());
            }
            process::wait_for_one(&[], Duration::from_millis(20));
        }
        let (all, doomed) = (process::all(), pools[1]);
        for it in &all {
            let of_child = self.children.iter().any(|child| child.id().cast_signed() == it.id.pid);
            if it.id.pid != doomed && (of_child || pools.contains(&it.ppid)) {
                self.decoys.insert(it.id, format!("a stranger: {}", it.line()));
            }
            let of_other = || text_of(&process::environ(it.id.pid), "DEVSTACK_ROOT").is_some_and(|root| Path::new(root) == self.other);
            if it.has_argument("supervise") && self.other.to_str().is_some_and(|root| it.has_argument(root)) || of_other() {
                self.decoys.insert(it.id, format!("another project's: {}", it.line()));
            }
        }
        if let Some(id) = all.iter().find(|it| it.id.pid == doomed).map(|it| it.id) {
            process::send(id, rustix::process::Signal::KILL);
            process::wait_for_all(&[id], START);
        }
        Ok(())
    }

    /// Marks of living runs also find what was wiped of everything else.
    pub fn look(&self) -> Look {
        let own = std::process::id().cast_signed();
        let mut look = Look::default();
        let mut rest = Vec::new();
        for it in process::all() {
            if it.is_zombie() {
                look.zombies.push(it);
            } else if it.argv.is_empty() {
                // On its way out: its memory is gone already, and on a busy machine it may take a while to become a zombie.
            } else if it.has_argument("supervise") && it.argv.get(3).map(Vec::as_slice) == Some(self.root.as_os_str().as_encoded_bytes()) {
                look.devstack.push(it);
            } else if it.id.pid != own && !self.decoys.contains_key(&it.id) {
                match self.worker(it) {
                    Ok(worker) => look.workers.push(worker),
                    Err(other) => rest.push(other),
                }
            }
        }
        let marks: BTreeSet<u64> = look.workers.iter().filter_map(|it| it.mark).collect();
        for it in rest {
            if let Some(mark) = process::realtime_limit(it.id.pid).filter(|mark| marks.contains(mark)) {
                look.workers.push(Worker { process: it, mark: Some(mark), run: None, is_main: false });
            }
        }
        // Orphans that devstack lost with both of its processes are ours to collect, as any init would.
        look.zombies.retain(|it| {
            let of_devstack = look.devstack.iter().any(|devstack| devstack.id.pid == it.ppid);
            if it.ppid == own
                && !self.place.is_waited_for(it.id.pid)
                && self.children.iter().all(|child| child.id().cast_signed() != it.id.pid)
            {
                process::reap(it.id.pid);
            }
            of_devstack
        });
        look
    }

    fn worker(&self, it: Process) -> Result<Worker, Process> {
        let environ = process::environ(it.id.pid);
        let of_root = text_of(&environ, "DEVSTACK_ROOT").is_some_and(|root| Path::new(root) == self.root);
        if !of_root && !process::stands_below(it.id.pid, &self.root) {
            return Err(it);
        }
        // A command of devstack, in the project's folder.
        if !of_root && it.argv[0].ends_with(b"devstack") {
            return Err(it);
        }
        let run = text_of(&environ, "DEVSTACK_RUN").map(str::to_owned);
        let is_main = text_of(&environ, "DEVSTACK_PID").is_some_and(|pid| pid == it.id.pid.to_string());
        Ok(Worker { mark: process::realtime_limit(it.id.pid), process: it, run, is_main })
    }

    /// Sorted by name: semaphores that the stack's runs made and that are there, each with its run.
    pub fn semaphores(&self) -> Vec<(PathBuf, PathBuf, String)> {
        let noted = fs::read_dir(self.place.base.join("semaphores")).into_iter().flatten().flatten();
        let present = noted.filter_map(|entry| {
            let file = Path::new("/dev/shm").join(format!("sem.{}", entry.file_name().to_str()?));
            let run = fs::read_to_string(entry.path()).ok()?;
            file.exists().then(|| (file, entry.path(), run))
        });
        present.collect()
    }

    /// Whether a run came as far as to say so.
    pub fn was_ready(&self, run: &str) -> bool {
        self.place.base.join("ready").join(run.replace('/', " ")).exists()
    }

    /// Takes everything down, by pid.
    pub fn clear(&mut self) {
        self.place.clear();
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.clear();
    }
}

fn succeed(place: &mut Place, root: &Path, line: &str) -> Result<(), Failure> {
    let done = place.run(root, line)?;
    if done.code == Some(0) { Ok(()) } else { Err(format!("{done:#?}").into()) }
}

fn config(base: &Path) -> String {
    let mut text = format!(
        "[project]\nname = 'chaos'\n[defaults]\nready = {{ log = 'started', timeout = '120s' }}\nstop_timeout = '5s'\nrestart = 'always'
restart_delay = '0s'\nstart_limit = {{ burst = 1000000, interval = '1s' }}
env = {{ CHAOS_SEMAPHORES = '{0}/semaphores', CHAOS_READY = '{0}/ready' }}\n",
        base.display()
    );
    for service in 0..SERVICES {
        let _ = writeln!(text, "[services.p{service}]\ncommand = 'python3 pool.py p{service} {}'", KINDS[service % KINDS.len()]);
    }
    text
}
