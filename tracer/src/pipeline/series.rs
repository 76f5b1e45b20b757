//! Which services have series of their own, and what all others have together. Who has one keeps it while it exists, and
//! what was counted with the others stays there: no counter goes down.

use std::{cmp::Reverse, collections::BTreeMap};

use super::visits::{News, Total};
use crate::serve::published::{MAX_SERVICES, OTHER, Service, ServiceName, Stays};

#[derive(Default)]
pub struct Series {
    own: BTreeMap<ServiceName, Total>,
    other: Total,
}

impl Series {
    /// From the sockets of each service now, and what was counted since the last call.
    pub fn of(&mut self, mut now: BTreeMap<ServiceName, Service>, news: &News) -> Vec<Service> {
        for name in news.by_service.keys() {
            now.entry(name.clone()).or_insert_with(|| named(name));
        }
        let others = ServiceName::new(OTHER, "", "", "");
        // A program may be called like that.
        let mut rest = now.remove(&others).unwrap_or_else(|| named(&others));
        self.own.retain(|name, _| now.contains_key(name));
        self.let_in(&now);
        for (name, counted) in &news.by_service {
            self.own
                .get_mut(name)
                .unwrap_or(&mut self.other)
                .add(counted);
        }
        self.other.add(&news.gone);
        let mut all = Vec::new();
        for (name, mut service) in now {
            match self.own.get(&name) {
                Some(total) => {
                    (service.entered, service.stays) = (total.entered, total.stays.clone());
                    all.push(service);
                }
                None => merge(&mut rest, &service),
            }
        }
        (rest.entered, rest.stays) = (self.other.entered, self.other.stays.clone());
        let is_empty = rest == named(&others);
        all.extend((!is_empty).then_some(rest));
        all
    }

    /// Those with most trouble, where there is room.
    fn let_in(&mut self, now: &BTreeMap<ServiceName, Service>) {
        let room = MAX_SERVICES.saturating_sub(self.own.len());
        let mut new: Vec<&Service> = now
            .values()
            .filter(|service| !self.own.contains_key(&service.name))
            .collect();
        new.sort_by_key(|service| Reverse((service.stuck, service.close_wait)));
        for service in new.into_iter().take(room) {
            self.own.insert(service.name.clone(), Total::default());
        }
    }
}

fn named(name: &ServiceName) -> Service {
    Service {
        name: name.clone(),
        ..Service::default()
    }
}

/// What two services have now, as one.
fn merge(one: &mut Service, other: &Service) {
    one.close_wait += other.close_wait;
    one.stuck += other.stuck;
    one.hidden += other.hidden;
    one.unaccepted += other.unaccepted;
    one.oldest_stuck = [one.oldest_stuck, other.oldest_stuck]
        .into_iter()
        .flatten()
        .min_by(f64::total_cmp);
    if other.fds_open > one.fds_open {
        (one.fds_open, one.fds_limit) = (other.fds_open, other.fds_limit);
    }
}

impl Total {
    fn add(&mut self, more: &Self) {
        self.entered += more.entered;
        let Stays {
            buckets,
            sum_seconds,
        } = &mut self.stays;
        if buckets.len() < more.stays.buckets.len() {
            buckets.resize(more.stays.buckets.len(), 0);
        }
        for (sum, more) in buckets.iter_mut().zip(&more.stays.buckets) {
            *sum += more;
        }
        *sum_seconds += more.stays.sum_seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(service: &str) -> ServiceName {
        ServiceName::new(service, "", "", "")
    }

    fn counted(entered: u64) -> Total {
        Total {
            entered,
            stays: Stays {
                buckets: vec![entered; 3],
                sum_seconds: 1.0,
            },
        }
    }

    fn stuck(
        names: impl IntoIterator<Item = String>,
        stuck: u64,
    ) -> BTreeMap<ServiceName, Service> {
        let all = names.into_iter().map(|it| {
            let service = Service {
                stuck,
                ..named(&name(&it))
            };
            (service.name.clone(), service)
        });
        all.collect()
    }

    fn news(by_service: &[(&str, u64)]) -> News {
        let all = by_service.iter();
        News {
            by_service: all.map(|(it, count)| (name(it), counted(*count))).collect(),
            gone: Total::default(),
        }
    }

    fn entered(all: &[Service], of: &str) -> Option<u64> {
        let mut found = all.iter().filter(|service| service.name == name(of));
        let entered = found.next().map(|service| service.entered);
        assert!(found.next().is_none(), "{of} twice");
        entered
    }

    #[test]
    fn beyond_the_bound_services_are_other_and_no_counter_goes_down() {
        let mut series = Series::default();
        let first = series.of(BTreeMap::new(), &news(&[("/", 70_000)]));
        assert_eq!(entered(&first, "/"), Some(70_000));
        // More trouble than it has.
        let crowd = || (0..MAX_SERVICES + 20).map(|nth| format!("s{nth:04}"));
        let all = series.of(stuck(crowd(), 5), &news(&[("/", 1), ("s0519", 7)]));
        assert_eq!(all.len(), MAX_SERVICES + 1);
        assert_eq!(entered(&all, "/"), Some(70_001));
        assert_eq!(entered(&all, "s0519"), None);
        assert_eq!(entered(&all, OTHER), Some(7));
        assert_eq!(all.iter().map(|it| it.stuck).sum::<u64>(), 5 * 520);
        // There is room again: what was counted with the others stays there.
        let few = stuck(["s0519".to_owned()], 5);
        let all = series.of(few, &news(&[("/", 0), ("s0519", 2)]));
        assert_eq!(entered(&all, "/"), Some(70_001));
        assert_eq!(entered(&all, "s0519"), Some(2));
        assert_eq!(entered(&all, OTHER), Some(7));
    }

    #[test]
    fn a_program_called_other_is_in_the_one_series_of_that_name() {
        let mut series = Series::default();
        let all = series.of(stuck([OTHER.to_owned()], 3), &news(&[(OTHER, 4)]));
        assert_eq!(entered(&all, OTHER), Some(4));
        assert_eq!(all.first().map(|it| it.stuck), Some(3));
        let gone = News {
            gone: counted(6),
            ..News::default()
        };
        assert_eq!(entered(&series.of(BTreeMap::new(), &gone), OTHER), Some(10));
    }
}
