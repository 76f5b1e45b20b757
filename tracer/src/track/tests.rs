//! What holds of the tracker whatever it is told, in whatever order, with whatever missing.

pub mod arbitrary;
mod cases;
mod observed;
mod properties;
mod replay;
mod retention;
