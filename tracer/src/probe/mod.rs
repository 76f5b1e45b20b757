//! The only user of aya: what this kernel offers, the hooks on it, and the maps behind them.

pub mod attach;
pub mod btf;
pub mod caps;
pub mod explain;
pub mod hooks;
pub mod host;
pub mod iterate;
mod jiffies;
pub mod layout;
pub mod live;
mod mounts;
pub mod netns;
pub mod object;
pub mod pidns;
pub mod privilege;
pub mod rings;
pub mod rows;
pub mod status;
pub mod table;
pub mod target;
pub mod threads;
pub mod tracefs;
pub mod tracepoint;
pub mod trial;
pub mod usage;
pub mod user;
pub mod visits;
