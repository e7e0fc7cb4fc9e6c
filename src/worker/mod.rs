//! The in-process half of devstack: a worker that knows when to stop, says that it is alive, and answers for its health.
//!
//! ```
//! use devstack::worker::{HealthCheckServer, Limits, ProcessManager};
//! use std::time::Duration;
//!
//! # fn main() -> std::io::Result<()> {
//! let manager = ProcessManager::new("my_worker", Limits { max_runtime_hours: Some(24.0), ..Limits::default() })?;
//! manager.start()?;
//! let server = HealthCheckServer::start("127.0.0.1", 0, &manager)?;
//! println!("http://{}/health", server.address());
//! while manager.should_continue() {
//!     manager.heartbeat();
//!     // Do work.
//!     # manager.request_shutdown("example");
//!     manager.wait(Duration::from_secs(60));
//! }
//! server.stop();
//! manager.shutdown();
//! # Ok(())
//! # }
//! ```
//!
//! Decides when a worker has to stop and whether it is well. Knows nothing of Python, of signals, or of who supervises it beyond
//! sd_notify(3). Guards that asking (`should_continue`) and saying (`heartbeat`) never wait for anything, and that its thread
//! answers and samples whatever the worker's own threads do.

mod health_check_server;
mod life;
mod metrics;
mod note;
mod process_manager;
mod sampler;

pub use health_check_server::HealthCheckServer;
pub use metrics::{Limits, Metrics};
pub use process_manager::ProcessManager;

#[cfg(test)]
mod tests;
