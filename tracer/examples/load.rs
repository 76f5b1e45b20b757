use aya::programs::Iter;
use std::io::Read;
use tracer::probe::{attach::*, layout::Layout, object::*};
fn main() -> anyhow::Result<()> {
    let t = std::time::Instant::now();
    let layout = Layout::of_running_kernel()?;
    println!("{:?} {:?}", layout, t.elapsed());
    let btf = aya::Btf::from_sys_fs()?;
    println!("btf {:?}", t.elapsed());
    let o = Object::find()?;
    let mut s = Settings::default();
    s.iter_states = 1 << 8 | 1 << 10 | 1 << 7;
    let mut e = o.load(&btf, &layout, &s)?;
    println!("load {:?}", t.elapsed());
    let st = attach(&mut e, &btf, &Wanted::watch(AcceptHook::Auto));
    println!("attach {:?} {:#?}", t.elapsed(), st);
    for (n, k) in [("iter_tcp", "tcp"), ("iter_task_file", "task_file")] {
        let p: &mut Iter = e.program_mut(n).unwrap().try_into()?;
        match p.load(k, &btf) {
            Err(e) => {
                println!("{n} {e:#?}");
                if let aya::programs::ProgramError::LoadError { verifier_log, .. } = e {
                    println!("{verifier_log}");
                }
            }
            Ok(()) => {
                let t = std::time::Instant::now();
                let l = p.attach()?;
                let l = p.take_link(l)?;
                let mut f = l.into_file()?;
                let mut v = vec![];
                f.read_to_end(&mut v)?;
                println!("{n}: {} bytes {:?}", v.len(), t.elapsed());
            }
        }
    }
    Ok(())
}
