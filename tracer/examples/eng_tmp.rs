fn main() -> std::process::ExitCode {
    let Ok(o) = tracer::cli::parse() else { return 2.into() };
    tracer::exit::finish(tracer::doctor::run(&o))
}
