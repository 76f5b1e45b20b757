//! `closed-at-exit` is not the answer of a rule here: only a run that starts the program itself sees its exit
//! as the end of the test.

use crate::model::verdict::Lesson;

pub const LESSON: Lesson = Lesson {
    happened: "The program never closed the connection; it went away only because the process exited.",
    proof: "The transition out of CLOSE_WAIT was made by an exiting task. Only a run that starts the program \
            under test itself can call that a leak; this version has no such command yet, and never gives \
            this verdict.",
    blamed: "the function that used or opened the connection last",
    remedy: "Close the connection where it is done with, so that a long-lived process does not collect them.",
};
