//! The background thread of a simulated consumer, which joins, sends heartbeats and notices that
//! the membership is lost; and the rounds of the group's coordinator.

use std::time::Duration;

use super::client::MemberState;
use super::group::{Heartbeat, Member};
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
            // It leaves by itself, and the next poll says why (max.poll.interval.ms).
            if let (true, Some(member)) = (reaches, client.member.clone()) {
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
                if !self.group.members.contains_key(&member) {
                    client.lose();
                } else if let Some((generation, assigned)) = self.group.assignment(&member) {
                    client.take(generation, &assigned);
                }
                self.changed();
            }
            MemberState::Member => self.send_heartbeat(index),
            MemberState::Leaves if client.is_settled() => {
                client.standing = MemberState::Left;
                if let Some(member) = client.member.take() {
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
        let (member, id, topics) = (client.member.as_deref(), &client.client_id, &client.topics);
        match self.group.join(member, id, topics, &client.owned, now, rebalance) {
            Some(member) => {
                client.member = Some(member);
                client.standing = MemberState::Waits;
                client.is_to_rejoin = false;
            }
            None => client.lose(),
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
