//! `devstack.worker` for Python: names and types across the border, and nothing else. What a worker does with signals, event
//! loops and callbacks is in `devstack/*.py`.

use devstack::worker::{HealthCheckServer, Limits, ProcessManager};
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
#[expect(clippy::disallowed_types, reason = "see LISTENERS")]
use std::sync::Mutex;
use std::sync::OnceLock;
use std::time::Duration;

#[pyclass(subclass, frozen, module = "devstack._native")]
struct Manager(OnceLock<ProcessManager>);

impl Manager {
    fn get(&self) -> PyResult<&ProcessManager> {
        self.0.get().ok_or_else(|| PyRuntimeError::new_err("ProcessManager.__init__ was not called"))
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

#[pymethods]
impl Manager {
    #[new]
    #[pyo3(signature = (*_arguments, **_keywords))]
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> Self {
        Self(OnceLock::new())
    }

    fn _begin(
        &self,
        name: String,
        max_runtime_hours: Option<f64>,
        memory_limit_mb: Option<f64>,
        cpu_limit_percent: Option<f64>,
        heartbeat_timeout_seconds: f64,
        is_child: bool,
    ) -> PyResult<()> {
        let limits = Limits { max_runtime_hours, memory_limit_mb, cpu_limit_percent, heartbeat_timeout_seconds };
        let manager = ProcessManager::new(name, limits)?;
        if is_child {
            manager.fall_silent();
        }
        let _ = self.0.set(manager);
        Ok(())
    }

    fn _renew(&self) -> PyResult<()> {
        self.get()?.renew();
        Ok(())
    }

    fn _start(&self) -> PyResult<()> {
        Ok(self.get()?.start()?)
    }

    /// Whether work is to go on: ``True`` from ``start()`` until a shutdown is requested. Never waits.
    fn should_continue(&self) -> bool {
        self.0.get().is_some_and(ProcessManager::should_continue)
    }

    /// Say that work goes on. Never waits.
    fn heartbeat(&self) -> PyResult<()> {
        self.get()?.heartbeat();
        Ok(())
    }

    /// Ask the worker to stop. The first reason counts. Before the first ``start()`` it holds from the start on.
    #[pyo3(signature = (reason = "requested"))]
    fn request_shutdown(&self, reason: &str) -> PyResult<()> {
        self.get()?.request_shutdown(reason);
        Ok(())
    }

    fn _finish(&self) -> PyResult<bool> {
        Ok(self.get()?.shutdown())
    }

    fn _idle_for(&self, seconds: f64) -> PyResult<()> {
        self.get()?.idle_for(duration(seconds));
        Ok(())
    }

    fn _sleep(&self, seconds: f64) -> PyResult<u64> {
        Ok(self.get()?.sleep(duration(seconds)))
    }

    fn _wake(&self, number: u64) -> PyResult<()> {
        self.get()?.wake(number);
        Ok(())
    }

    /// A descriptor that is readable once a shutdown was requested.
    fn fileno(&self) -> PyResult<i32> {
        Ok(self.get()?.stop_requested().as_raw_fd())
    }

    /// ``(True, "healthy")``, or ``False`` with the reason.
    fn is_healthy(&self) -> PyResult<(bool, String)> {
        Ok(self.get()?.is_healthy())
    }

    /// What the process uses: ``pid name uptime_seconds cpu_percent memory_mb memory_percent num_threads status
    /// heartbeat_age_seconds``. CPU in percent of one core over the last second, memory resident in MB of 1024 × 1024 bytes. Never waits;
    /// ``None`` is what was not measured yet.
    fn get_metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let metrics = self.get()?.metrics();
        let told = PyDict::new(py);
        told.set_item("pid", metrics.pid)?;
        told.set_item("name", metrics.name)?;
        told.set_item("uptime_seconds", metrics.uptime_seconds)?;
        told.set_item("cpu_percent", metrics.cpu_percent)?;
        told.set_item("memory_mb", metrics.memory_mb)?;
        told.set_item("memory_percent", metrics.memory_percent)?;
        told.set_item("num_threads", metrics.num_threads)?;
        told.set_item("status", metrics.status)?;
        told.set_item("heartbeat_age_seconds", metrics.heartbeat_age_seconds)?;
        Ok(told)
    }

    /// Seconds from ``start()`` to now, or to the end; 0.0 before.
    fn get_uptime(&self) -> PyResult<f64> {
        Ok(self.get()?.uptime().as_secs_f64())
    }

    /// Seconds left of ``max_runtime_hours``; ``None`` without such a limit.
    fn get_remaining_runtime(&self) -> PyResult<Option<f64>> {
        Ok(self.get()?.remaining_runtime().map(|left| left.as_secs_f64()))
    }

    #[getter]
    fn name(&self) -> PyResult<String> {
        Ok(self.get()?.name().to_owned())
    }

    /// Between ``start()`` and the end of ``shutdown()``.
    #[getter]
    fn running(&self) -> PyResult<bool> {
        Ok(self.get()?.is_running())
    }

    #[getter]
    fn shutdown_requested(&self) -> PyResult<bool> {
        Ok(self.get()?.is_shutdown_requested())
    }

    #[getter]
    fn shutdown_reason(&self) -> PyResult<Option<String>> {
        Ok(self.get()?.shutdown_reason())
    }

    /// Seconds since the epoch, as ``time.time()``; ``None`` before ``start()``.
    #[getter]
    fn start_time(&self) -> PyResult<Option<f64>> {
        Ok(self.get()?.start_time())
    }

    /// When ``shutdown()`` was over, in seconds since the epoch; ``None`` before.
    #[getter]
    fn end_time(&self) -> PyResult<Option<f64>> {
        Ok(self.get()?.end_time())
    }

    fn _continue_after_fork(&self) -> PyResult<()> {
        self.0.get().map_or(Ok(()), |manager| Ok(manager.continue_after_fork()?))
    }
}

/// Descriptors that listeners have open in this process, by number: a child after fork(2) closes those of its parent. Only ever taken
/// with the GIL held, as forks are made.
#[expect(clippy::disallowed_types, reason = "a static needs one; whoever holds the GIL holds it")]
static LISTENERS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn listeners(change: impl FnOnce(&mut BTreeSet<i32>)) {
    if let Ok(mut all) = LISTENERS.lock() {
        change(&mut all);
    }
}

/// Everything that it does is one step for whoever holds the GIL: no other thread forks, starts or stops in between.
#[pyclass(module = "devstack._native")]
struct Server(Option<HealthCheckServer>);

#[pymethods]
impl Server {
    #[new]
    fn new() -> Self {
        Self(None)
    }

    /// The port. Where it listens already, nothing is begun.
    fn start(&mut self, host: &str, port: u16, manager: &Bound<'_, Manager>) -> PyResult<u16> {
        if self.0.is_none() {
            let server = HealthCheckServer::start(host, port, manager.get().get()?).map_err(refusal)?;
            let descriptor = server.descriptor();
            listeners(|all| {
                all.insert(descriptor);
            });
            self.0 = Some(server);
        }
        Ok(self.0.as_ref().map_or(port, |server| server.address().port()))
    }

    fn stop(&mut self) {
        if let Some(server) = self.0.take() {
            listeners(|all| {
                all.remove(&server.descriptor());
            });
            server.stop();
        }
    }

    /// In a child after fork(2).
    fn leave_to_parent(&mut self) {
        if let Some(server) = self.0.take() {
            server.leave_to_parent();
        }
    }
}

/// In a child after fork(2): the ports are the parent's.
#[pyfunction]
fn leave_listeners_to_parent() {
    listeners(|all| std::mem::take(all).into_iter().for_each(HealthCheckServer::close_inherited));
}

fn refusal(error: std::io::Error) -> PyErr {
    let number = match error.kind() {
        ErrorKind::AddrInUse => Some(98),
        ErrorKind::AddrNotAvailable => Some(99),
        ErrorKind::PermissionDenied => Some(13),
        _ => error.raw_os_error(),
    };
    match number {
        Some(number) => PyOSError::new_err((number, error.to_string())),
        None => PyOSError::new_err(error.to_string()),
    }
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Manager>()?;
    module.add_class::<Server>()?;
    module.add_function(wrap_pyfunction!(leave_listeners_to_parent, module)?)
}
