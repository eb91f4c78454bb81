//! What a case's evictd works with besides MySQL, Redis and CloudFront.

use super::draw::Draw;

/// Where paths wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Local,
    /// Its hosts' clocks differ, and some messages come again.
    Sqs,
}

/// Where the position is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    File,
    Redis,
}

#[derive(Clone, Debug)]
pub struct Topology {
    pub queue: Queue,
    pub checkpoint: Place,
    /// Whether there is a second distribution.
    pub second: bool,
}

impl Topology {
    pub fn draw(draw: &mut Draw) -> Self {
        Self {
            queue: draw.weighted(&[(3, Queue::Local), (1, Queue::Sqs)]),
            checkpoint: draw.weighted(&[(3, Place::File), (1, Place::Redis)]),
            second: draw.percent(60),
        }
    }

    /// Less of it, one after the other.
    pub fn plainer(&self) -> Vec<Self> {
        let with = |change: fn(&mut Self)| {
            let mut plainer = self.clone();
            change(&mut plainer);
            plainer
        };
        let all = [
            with(|topology| topology.queue = Queue::Local),
            with(|topology| topology.checkpoint = Place::File),
            with(|topology| topology.second = false),
        ];
        let all = all.into_iter();
        all.filter(|plainer| plainer.kinds(true) != self.kinds(true))
            .collect()
    }

    pub fn kinds(&self, edge: bool) -> Vec<String> {
        let mut kinds = vec![format!("checkpoint: {:?}", self.checkpoint)];
        if edge {
            kinds.push(format!("queue: {:?}", self.queue));
            kinds.push(format!("distributions: {}", 1 + usize::from(self.second)));
        }
        kinds
    }
}
