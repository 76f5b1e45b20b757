//! `sockleak snapshot`: what is stuck now, from the iterators alone. Nothing is attached.

use super::{
    output::{self, Outputs},
    session::Session,
};
use crate::{
    options::Options,
    probe::{
        attach::{AcceptHook, Wanted},
        host::Host,
    },
};

pub fn run(options: &Options, host: &Host) -> anyhow::Result<u8> {
    let outputs = Outputs::open(options)?;
    let nothing = Wanted {
        purposes: Vec::new(),
        accept: AcceptHook::None,
        empty: false,
    };
    let mut session = Session::start(options, host, &nothing)?;
    session.inspect()?;
    output::deliver(session.conclude()?, options, outputs)
}
