//! Which suspended task has a connection: the one whose coroutines lead to it in fewest steps.

use super::ReportContext;
use crate::model::input::{AsyncTask, Thread};

impl<'a> ReportContext<'a> {
    /// Whoever has it may go on with it: a suspended task of the program's own, or one that a library runs for it.
    pub fn is_had_by_a_task(&self, pid: u32, inode: u64) -> bool {
        let mut held = (self.tracker.tasks(pid).iter()).flat_map(|task| &task.holds);
        held.any(|(held, _)| *held == inode)
    }

    /// `None` where none does, or several alike. Of these one whose coroutine is the program's own counts more than those
    /// that a library runs for the connection.
    pub fn task_of(&self, pid: u32, inode: u64) -> Option<&'a Thread> {
        let tasks = self.tracker.tasks(pid).iter();
        let having: Vec<(u8, &AsyncTask)> = tasks
            .filter_map(|task| {
                let held = task.holds.iter().find(|(held, _)| *held == inode)?;
                Some((held.1, task))
            })
            .collect();
        let own = |task: &&AsyncTask| self.blame(&task.thread.stack).is_some();
        let nearest = having.iter().map(|(far, _)| *far).min()?;
        let nearest = having.iter().filter(|(far, _)| *far == nearest);
        let nearest: Vec<&AsyncTask> = nearest.map(|(_, task)| *task).collect();
        match nearest.as_slice() {
            [only] => own(only).then_some(&only.thread),
            several => {
                let mut theirs = several.iter().filter(|task| own(task));
                let only = theirs.next()?;
                theirs.next().is_none().then_some(&only.thread)
            }
        }
    }
}
