//! Connections of a program for Node.js: whom its listeners blame, and how sure that is.

use super::world::{S, SERVER, STUCK, conn, frame, libc, names, world};
use crate::model::{
    input::Input,
    listeners::{Event, EventListeners, Heard, Listeners, SocketListeners, WhyUnheard},
    report::Site,
    socket::SocketOperation,
    stack::{Frame, NODE},
};

fn listener(name: &str, line: u32) -> Frame {
    Frame {
        function: Some(name.to_owned()),
        module: Some(NODE.to_owned()),
        file: Some("/srv/app.js".to_owned()),
        line: Some(line),
        ..Frame::default()
    }
}

fn listeners(half_open: bool, end: bool, functions: &[(Event, Frame)]) -> Heard {
    let of_event = |(event, function): &(Event, Frame)| EventListeners {
        event: *event,
        functions: vec![function.clone()],
        more: false,
    };
    Heard::By(Listeners {
        half_open: Some(half_open),
        end_is_heard: end,
        is_http: false,
        is_below_tls: false,
        events: functions.iter().map(of_event).collect(),
    })
}

/// Connections 1, 2, … of one server with a loop of C, and who listens to each.
fn sites(heard: Vec<Heard>, loop_frame: Frame) -> Vec<Site> {
    let conns = (1..).zip(&heard).map(|(cookie, _)| {
        conn(cookie)
            .accepted()
            .used(SocketOperation::Recv, STUCK - S)
            .eof()
    });
    let conns: Vec<_> = conns.collect();
    let sockets = (1..)
        .zip(heard)
        .map(|(cookie, heard): (u64, _)| SocketListeners {
            inode: 5000 + cookie,
            heard,
        });
    let sockets = sockets.collect();
    world(conns)
        .with_stack(3, vec![libc("recv"), loop_frame])
        .with(Input::Listeners {
            pid: SERVER,
            sockets,
        })
        .report()
        .sites
}

fn runtime() -> Frame {
    libc("uv_run")
}

#[test]
fn who_hears_of_a_connection_is_blamed_where_nobody_is_on_the_stack() {
    let on_data = (Event::Data, listener("onData", 7));
    let sites = sites(vec![listeners(true, false, &[on_data])], runtime());
    let [site] = sites.as_slice() else {
        panic!("{:?}", names(&sites))
    };
    assert_eq!(site.verdict.name(), "eof-ignored");
    // Nobody hears the end, and the socket is left half open: that explains it.
    assert_eq!(site.confidence.name(), "high");
    let blame = site.blame.as_ref().unwrap();
    assert_eq!((blame.function.raw(), blame.line), ("onData", Some(7)));
    assert!(site.summary.ends_with("; 'data' goes to onData (app.js:7)"));
    let says = |part: &str| site.evidence.iter().any(|line| line.contains(part));
    assert!(says(
        "listeners: data: onData (app.js:7), end: none, allowHalfOpen: true"
    ));
    // It was on no stack.
    assert!(!says("a read in onData"), "{:?}", site.evidence);
    assert!(site.advice.contains("nobody listens for 'end' (any more)"));
    let told = site.listeners.as_ref().unwrap();
    assert_eq!(told.blamed.as_deref(), Some("data"));
}

#[test]
fn what_does_not_explain_it_is_no_more_than_likely() {
    let on_data = (Event::Data, listener("onData", 7));
    let on_end = (Event::End, listener("onEnd", 9));
    for (heard, confidence) in [
        // It may have something to say after the end.
        (
            listeners(true, true, &[on_data.clone(), on_end.clone()]),
            "low",
        ),
        (
            listeners(true, true, std::slice::from_ref(&on_data)),
            "medium",
        ),
        (listeners(false, true, &[on_data.clone(), on_end]), "low"),
        // Node would have closed it.
        (listeners(false, false, &[on_data]), "low"),
    ] {
        let sites = sites(vec![heard], runtime());
        assert_eq!(sites[0].confidence.name(), confidence);
        assert_eq!(sites[0].blame.as_ref().unwrap().function.raw(), "onData");
        assert!(sites[0].advice.contains("need not be where"));
    }
}

/// What pipes it elsewhere has heard the end, once.
#[test]
fn who_only_accepted_it_may_have_given_it_away() {
    let on_connection = (Event::Connection, listener("relay", 3));
    let sites = sites(vec![listeners(true, false, &[on_connection])], runtime());
    assert_eq!(sites[0].confidence.name(), "medium");
    assert_eq!(sites[0].blame.as_ref().unwrap().function.raw(), "relay");
}

/// That nobody hears the end does not tell why nobody reads.
#[test]
fn an_unread_connection_is_who_accepted_its() {
    let on_connection = (Event::Connection, listener("handOn", 3));
    let heard = listeners(true, false, &[on_connection]);
    let site = world([conn(1).accepted().recv_q(120)])
        .with_stack(1, vec![libc("accept"), runtime()])
        .with(Input::Listeners {
            pid: SERVER,
            sockets: vec![SocketListeners { inode: 5001, heard }],
        })
        .site();
    assert_eq!(site.verdict.name(), "never-read");
    assert_eq!(site.confidence.name(), "medium");
    assert_eq!(site.blame.unwrap().function.raw(), "handOn");
    let summary = "'connection' of their server goes to handOn (app.js:3)";
    assert!(site.summary.ends_with(summary), "{}", site.summary);
    assert!(site.advice.contains("need not be where"));
}

#[test]
fn two_listeners_of_one_server_are_two_findings() {
    let on = |name: &str, line| listeners(true, false, &[(Event::Data, listener(name, line))]);
    let sites_of = |heard| {
        let sites = sites(heard, runtime());
        let mut lines: Vec<(Option<u32>, u64)> = sites
            .iter()
            .map(|site| (site.blame.as_ref().unwrap().line, site.count))
            .collect();
        lines.sort();
        lines
    };
    let two = vec![on("first", 1), on("second", 2), on("first", 1)];
    assert_eq!(sites_of(two), [(Some(1), 2), (Some(2), 1)]);
    let nameless = vec![on(Frame::ANONYMOUS, 1), on(Frame::ANONYMOUS, 2)];
    assert_eq!(sites_of(nameless), [(Some(1), 1), (Some(2), 1)]);
}

#[test]
fn a_function_on_the_stack_comes_first() {
    let on_data = (Event::Data, listener("onData", 7));
    let sites = sites(vec![listeners(true, false, &[on_data])], frame("drain", 30));
    assert_eq!(sites[0].blame.as_ref().unwrap().function.raw(), "drain");
    let told = sites[0].listeners.as_ref().unwrap();
    assert_eq!((told.blamed.as_ref(), told.events.len()), (None, 1));
}

#[test]
fn what_is_not_known_is_said_and_blames_nobody() {
    let sites = sites(vec![Heard::Unknown(WhyUnheard::Moved)], runtime());
    assert!(sites[0].blame.is_none());
    let says = |part: &str| sites[0].evidence.iter().any(|line| line.contains(part));
    assert!(says("listeners: unknown: "), "{:?}", sites[0].evidence);
    assert!(sites[0].listeners.as_ref().unwrap().unknown.is_some());
}

/// One that was installed listens to all requests, and calls the program's handlers by itself.
#[test]
fn a_framework_that_takes_all_requests_is_not_blamed_for_one() {
    let blamed = |event, file: &str| {
        let mut takes = listener("routing", 871);
        takes.file = Some(file.to_owned());
        let mut heard = listeners(false, false, &[(event, takes)]);
        if let Heard::By(listeners) = &mut heard {
            listeners.is_http = event == Event::Request;
        }
        let sites = sites(vec![heard], runtime());
        let blame = sites[0].blame.as_ref();
        blame.map(|blame| blame.function.raw().to_owned())
    };
    let package = "/srv/node_modules/framework/lib/route.js";
    assert_eq!(blamed(Event::Request, package), None);
    assert_eq!(
        blamed(Event::Request, "/srv/app.js").as_deref(),
        Some("routing")
    );
    // What listens to the connections themselves decides about them.
    assert_eq!(
        blamed(Event::Connection, package).as_deref(),
        Some("routing")
    );
}
