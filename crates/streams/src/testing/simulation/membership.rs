//! The background thread of a simulated consumer, which joins, sends heartbeats and notices that
//! the membership is lost; and the rounds of the group's coordinator.

use std::time::Duration;

use super::client::MemberState;
use super::group::{Heartbeat, Join, Member};
use super::world::{Timer, World};
use crate::error::Error;

/// The time between two turns of the background thread, at most.
const BACKGROUND: Duration = Duration::from_millis(600);

impl World {
    /// A turn of the background thread of a consumer.
    pub fn run_consumer_background(&mut self, index: usize) {
        let process = self.clients[index].process;
        if !self.processes[process].is_alive
            || self.clients[index].standing == MemberState::Left
            || self.clients[index].has_failed
        {
            return;
        }
        let after = self.random_time(BACKGROUND);
        self.set_timer(after, Timer::Consumer(index));
        if self.is_frozen(process) {
            return;
        }
        let now = self.now;
        let (session, rebalance) = (self.settings.session_timeout, self.settings.rebalance_timeout);
        let reaches = self.is_connected(process) && now >= self.broker.group_coordinator_away_until;
        let client = &mut self.clients[index];
        if client.member.is_some() && now > client.last_poll + rebalance {
            // It leaves by itself, and the next poll says why (max.poll.interval.ms). A static
            // member does not leave, and comes back within its session or is expelled.
            if let (true, None, Some(member)) = (reaches, &client.instance, client.member.clone()) {
                self.group.leave(&member, now, rebalance);
            }
            client.failed = Some(Error::Migrated("the consumer was not polled for too long".to_owned()));
            client.lose();
            self.changed();
            return;
        }
        if client.member.is_some() && client.standing == MemberState::Member && now > client.last_heard + session {
            client.lose();
            self.changed();
            return;
        }
        if !reaches {
            return;
        }
        match client.standing {
            MemberState::Outside | MemberState::Left => {}
            MemberState::Joins if !client.is_settled() || client.is_leaving => {}
            MemberState::Joins => self.join_group(index),
            MemberState::Waits => {
                client.last_heard = now;
                let Some(member) = client.member.clone() else { return };
                match self.group.assignment(&member) {
                    Err(Heartbeat::Fenced) => client.fence(),
                    Err(_) => client.lose(),
                    Ok(Some((generation, assigned))) => client.take(generation, &assigned),
                    Ok(None) => {}
                }
                self.changed();
            }
            MemberState::Member => self.send_heartbeat(index),
            MemberState::Leaves if client.is_settled() => {
                let rejoin = client.rejoin.take();
                client.standing = match rejoin {
                    None => MemberState::Left,
                    Some(false) => MemberState::Outside,
                    Some(true) => MemberState::Joins,
                };
                client.is_leaving = rejoin.is_none();
                client.generation = -1;
                // A static member keeps its place for its session, unless it is to join again.
                let keeps_place = client.instance.is_some() && rejoin.is_none();
                if let Some(member) = client.member.take().filter(|_| !keeps_place) {
                    self.group.leave(&member, now, rebalance);
                }
                self.changed();
            }
            MemberState::Leaves => {}
        }
    }

    fn join_group(&mut self, index: usize) {
        let (now, rebalance) = (self.now, self.settings.rebalance_timeout);
        let client = &mut self.clients[index];
        client.last_poll = now;
        client.last_heard = now;
        let join = Join {
            member: client.member.as_deref(),
            client_id: &client.client_id,
            instance: client.instance.as_deref(),
            topics: &client.topics,
            owned: &client.owned,
            generation: client.generation,
            data: client.member_data(),
        };
        match self.group.join(join, now, rebalance) {
            Ok(member) => {
                client.member = Some(member);
                client.standing = MemberState::Waits;
                client.is_to_rejoin = false;
            }
            Err(Heartbeat::Fenced) => client.fence(),
            Err(_) => client.lose(),
        }
    }

    fn send_heartbeat(&mut self, index: usize) {
        let now = self.now;
        let client = &mut self.clients[index];
        let Some(member) = client.member.clone() else { return };
        match self.group.heartbeat(&member, client.generation, now) {
            Heartbeat::Unknown => {
                client.lose();
                self.changed();
            }
            Heartbeat::Fenced => {
                client.fence();
                self.changed();
            }
            answer => {
                client.last_heard = now;
                let is_to_join = answer == Heartbeat::Rebalance || client.is_to_rejoin;
                if is_to_join && client.is_settled() && !client.is_leaving {
                    client.standing = MemberState::Joins;
                }
            }
        }
    }
}

impl World {
    /// The group's coordinator looks at its members and at the round under way.
    pub fn look_at_group(&mut self) {
        let (session, rebalance) = (self.settings.session_timeout, self.settings.rebalance_timeout);
        if self.now < self.broker.group_coordinator_away_until {
            return;
        }
        let gone = self.group.expire(self.now, session, rebalance);
        for id in &gone {
            self.trace(|_| format!("group: the session of {id} has timed out"));
        }
        if self.group.end_round(self.now, &self.broker.counts) {
            self.trace(|world| {
                let of = |(id, member): (&String, &Member)| {
                    let partitions: Vec<String> = member.assigned.iter().map(ToString::to_string).collect();
                    format!("{id} [{}]", partitions.join(" "))
                };
                let all: Vec<String> = world.group.members.iter().map(of).collect();
                format!("group: generation {}: {}", world.group.generation, all.join(", "))
            });
            self.changed();
        }
        if !gone.is_empty() {
            self.changed();
        }
    }
}
