//! What should happen next: pure decisions over states, without I/O, clock or handles.
