//! The states of a transactional producer as types: what may be done with it depends on its state,
//! and each step takes it and returns it in its next state.

use std::time::Duration;

use super::super::instance::Instance;
use super::refused_outputs::{OutputId, SentOutput};
use super::retries::retried;
use crate::error::{Error, Result};
use crate::planted::PlantedBug;
use crate::ports::{GroupMetadata, OffsetCommit, OutRecord, Producer};
use crate::record::Record;

/// A client that makes transactions, in whatever state, with the outputs that its transaction sent.
pub(super) struct TransactionalClient {
    pub producer: Box<dyn Producer>,
    /// The outputs of this transaction, by token; of the last one until the next begins.
    pub sent_outputs: Vec<SentOutput>,
}

/// A producer that has ended its predecessor's transaction and has none open.
pub(super) struct IdleProducer(pub TransactionalClient);

/// A producer with an open transaction.
pub(super) struct OpenTransaction {
    pub client: TransactionalClient,
    /// [`Instance::renewals`] before the client was made.
    renewal: u64,
}

/// The token of changelog records, which stand in no journal.
const CHANGELOG: u64 = u64::MAX;

impl TransactionalClient {
    /// The producer, which has not failed for good.
    ///
    /// # Errors
    /// That failure.
    pub fn alive(&mut self) -> Result<&mut dyn Producer> {
        match self.producer.fatal_error() {
            Some(error) => Err(error),
            None => Ok(self.producer.as_mut()),
        }
    }
}

impl IdleProducer {
    /// Begins a transaction.
    ///
    /// # Errors
    /// The client cannot; the producer comes back as it was.
    pub fn begin(mut self, renewal: u64) -> std::result::Result<OpenTransaction, (IdleProducer, Error)> {
        self.0.sent_outputs.clear();
        match self.0.alive().and_then(|producer| producer.begin()) {
            Ok(()) => Ok(OpenTransaction { client: self.0, renewal }),
            Err(error) => Err((self, error)),
        }
    }
}

impl OpenTransaction {
    /// Queues an output and notes it; whether there was room for it.
    ///
    /// # Errors
    /// As for [`Producer::send`].
    pub fn send(&mut self, output: OutputId, record: &OutRecord<'_>) -> Result<bool> {
        let token = self.client.sent_outputs.len() as u64;
        let is_queued = self.client.producer.send(&OutRecord { token, ..*record })?;
        if is_queued {
            let Record { key, value, .. } = record.record;
            let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
            self.client.sent_outputs.push(SentOutput { output, bytes });
        }
        Ok(is_queued)
    }

    /// Queues a changelog record; whether there was room for it.
    ///
    /// # Errors
    /// As for [`Producer::send`].
    pub fn send_change(&mut self, record: &OutRecord<'_>) -> Result<bool> {
        self.client.producer.send(&OutRecord { token: CHANGELOG, ..*record })
    }

    /// Adds the group's offsets.
    ///
    /// # Errors
    /// As for [`Producer::send_offsets`].
    pub fn send_offsets(
        &mut self,
        instance: &Instance,
        offsets: &[OffsetCommit],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<()> {
        retried(instance, self.renewal, || self.client.alive()?.send_offsets(offsets, group, timeout))
    }

    /// Commits.
    ///
    /// # Errors
    /// By remedy; the transaction comes back for it. [`Error::ProducerLost`] where the outcome is
    /// unknown: only a new producer, and the offsets that the broker then has, can tell.
    pub fn commit(
        mut self,
        instance: &Instance,
        timeout: Duration,
    ) -> std::result::Result<IdleProducer, (OpenTransaction, Error)> {
        match retried(instance, self.renewal, || self.client.alive()?.commit(timeout)) {
            Ok(()) => Ok(IdleProducer(self.client)),
            Err(Error::Retry(_)) if PlantedBug::UnknownOutcomeIsCommitted.is_planted() => Ok(IdleProducer(self.client)),
            Err(Error::Retry(what)) => Err((self, Error::ProducerLost(what))),
            Err(error) => Err((self, error)),
        }
    }

    /// Aborts, and forgets the failures of its deliveries: each told later would have the tasks
    /// read again once more, and a consumer that is sent back at each turn never gets to reading.
    ///
    /// # Errors
    /// By remedy; the transaction comes back for it.
    pub fn abort(
        mut self,
        instance: &Instance,
        timeout: Duration,
    ) -> std::result::Result<IdleProducer, (OpenTransaction, Error)> {
        let aborted = match PlantedBug::NoAbort.is_planted() {
            true => Ok(()),
            false => retried(instance, self.renewal, || self.client.alive()?.abort(timeout)),
        };
        match aborted {
            Ok(()) => {
                while self.client.producer.take_failure().is_some() {}
                Ok(IdleProducer(self.client))
            }
            Err(error) => Err((self, error)),
        }
    }
}
