//! Asks the brokers for the rights of this principal: the authorised operations that come with the
//! description of topics, groups and the cluster (KIP-430), which need no right to see ACLs. What
//! cannot be asked is tried: to make a topic, without making it, and to use a transactional id.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;
use std::time::Duration;

use futures::executor::block_on;
use rdkafka::admin::ResourceSpecifier;
use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::admin::{ClusterAdmin, REQUEST, creation, failed, options};
use super::coordinator::{PATIENCE, REQUEST_LIMIT};
use super::error::{Call, Failure, refused};
use super::metadata::millis;
use super::native::Native;
use super::settings::KafkaSettings;
use super::transactional_id;
use streams::error::{Error, Result};
use streams::ports::NewTopic;
use streams::ports::rights::{Operation, Resource, Right};

/// A broker's answer about one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// These operations; Describe is among them.
    Operations(Vec<Operation>),
    /// Nothing, not even to know whether it is there.
    Nothing,
    /// There is no such topic, and the principal may know that.
    Absent,
    /// The broker does not tell: it is older than Kafka 2.3, or no Kafka.
    Untold,
}

impl Allowed {
    /// Whether an operation is allowed; `None` where the broker does not tell.
    pub fn has(&self, operation: Operation) -> Option<bool> {
        match self {
            Allowed::Operations(all) => Some(all.contains(&operation)),
            Allowed::Nothing => Some(false),
            Allowed::Absent | Allowed::Untold => None,
        }
    }
}

impl ClusterAdmin {
    /// The operations allowed on each topic, in the order of `topics`. No topic is made by this.
    ///
    /// # Errors
    /// [`Error::Retry`] when no broker answers.
    pub fn allowed_on_topics(&self, topics: &[&str]) -> Result<Vec<Allowed>> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.describe(&Question::Topics(topics))?;
        Ok(topics.iter().map(|topic| found.get(*topic).cloned().unwrap_or(Allowed::Untold)).collect())
    }

    /// The operations allowed on each consumer group, in the order of `groups`; a group need not be
    /// there.
    ///
    /// # Errors
    /// As for [`ClusterAdmin::allowed_on_topics`].
    pub fn allowed_on_groups(&self, groups: &[&str]) -> Result<Vec<Allowed>> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.describe(&Question::Groups(groups))?;
        Ok(groups.iter().map(|group| found.get(*group).cloned().unwrap_or(Allowed::Untold)).collect())
    }

    /// The operations allowed on the cluster.
    ///
    /// # Errors
    /// As for [`ClusterAdmin::allowed_on_topics`].
    pub fn allowed_on_cluster(&self) -> Result<Allowed> {
        Ok(self.describe(&Question::Cluster)?.remove("").unwrap_or(Allowed::Untold))
    }

    /// Whether the settings of a topic may be read, there or not.
    ///
    /// # Errors
    /// As for [`ClusterAdmin::allowed_on_topics`].
    pub fn may_describe_configs(&self, topic: &str) -> Result<bool> {
        let request = [ResourceSpecifier::Topic(topic)];
        let answers = block_on(self.client().describe_configs(&request, &options()));
        let answers = answers.map_err(|error| failed("ask whether settings may be read", &error))?;
        Ok(!answers.into_iter().any(|answer| answer.is_err_and(|code| refused(code as i32).is_some())))
    }

    /// Whether each topic could be made: the broker checks the request and makes nothing. Only a
    /// missing right counts as "no".
    ///
    /// # Errors
    /// As for [`ClusterAdmin::allowed_on_topics`].
    pub fn may_create(&self, topics: &[NewTopic]) -> Result<Vec<bool>> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let request: Vec<_> = topics.iter().map(creation).collect();
        let answers = block_on(self.client().create_topics(&request, &options().validate_only(true)));
        let answers = answers.map_err(|error| failed("ask whether topics may be made", &error))?;
        let mut denied = Vec::new();
        for (name, code) in answers.into_iter().filter_map(|answer| answer.err()) {
            if refused(code as i32).is_some() {
                denied.push(name);
            }
        }
        Ok(topics.iter().map(|topic| !denied.contains(&topic.name)).collect())
    }

    /// Asks one question; the answers by name (the cluster's is empty).
    fn describe(&self, question: &Question<'_>) -> Result<BTreeMap<String, Allowed>> {
        match question {
            Question::Groups(_) => self.groups().request(&question.doing(), |client| describe(client, question)),
            Question::Topics(_) | Question::Cluster => {
                describe(self.reader(), question)?.ok_or_else(|| no_answer(question))
            }
        }
    }
}

fn no_answer(question: &Question<'_>) -> Error {
    Error::Retry(format!("{}: no answer within {} s [HS2002]", question.doing(), question.limits().1.as_secs()))
}

/// Asks one question through any client; of groups through a
/// [`GroupClient`](super::coordinator::GroupClient) alone. `None`: no answer came.
fn describe(client: &Native, question: &Question<'_>) -> Result<Option<BTreeMap<String, Allowed>>> {
    let doing = question.doing();
    let client = client.as_ptr();
    let (limit, patience) = question.limits();
    let no_memory = || Error::Fatal(format!("{doing}: out of memory [HS0094]"));
    // SAFETY: a live client; queue and options are ours, used while they live, and destroyed once
    // by their owners below.
    let (queue, options) = unsafe {
        let queue = NonNull::new(sys::rd_kafka_queue_new(client)).map(AdminQueue).ok_or_else(no_memory)?;
        let made = sys::rd_kafka_AdminOptions_new(client, question.operation());
        (queue, NonNull::new(made).map(DescribeOptions).ok_or_else(no_memory)?)
    };
    options.ask_for_operations(&doing, limit)?;
    question.send(client, &options, &queue)?;
    // SAFETY: a live queue; the event is ours and destroyed once, after it was read.
    let event = unsafe { sys::rd_kafka_queue_poll(queue.0.as_ptr(), millis(patience)) };
    let Some(event) = NonNull::new(event).map(Event) else { return Ok(None) };
    // SAFETY: a live event; the text lives as long as it.
    let failure = unsafe {
        let code = sys::rd_kafka_event_error(event.0.as_ptr());
        let text = sys::rd_kafka_event_error_string(event.0.as_ptr());
        let text = (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
        Failure::of_number(code as i32, text)
    };
    if let Some(failure) = failure {
        return Err(failure.remedy(Call::Admin, &doing));
    }
    question.read(&event).map(Some).map_err(|failure| failure.remedy(Call::Admin, &doing))
}

/// A refusal of which only the kind of resource is known, with those of its rights left that the
/// brokers indeed deny; as it was where they do not say.
pub(super) fn narrowed(client: &Native, mut failure: Failure) -> Failure {
    if refused(failure.code) != Some(Resource::Topic) {
        return failure;
    }
    let on_topics = failure.takes.iter().filter(|right| right.resource == Resource::Topic);
    let mut names: Vec<&str> = on_topics.map(|right| right.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if failure.takes.iter().filter(|right| right.resource == Resource::Topic).count() < 2 {
        // There is nothing to choose from.
        return failure;
    }
    let Ok(Some(told)) = describe(client, &Question::Topics(&names)) else { return failure };
    let is_denied = |right: &Right| {
        right.resource == Resource::Topic
            && told.get(&right.name).and_then(|allowed| allowed.has(right.operation)) == Some(false)
    };
    let denied: Vec<Right> = failure.takes.iter().filter(|right| is_denied(right)).cloned().collect();
    if !denied.is_empty() {
        failure.takes = denied;
    }
    failure
}

/// Whether a principal may use a transactional id: a producer of that id is started and ended. It
/// fences another producer of the same id, so the id must be one that nobody uses.
///
/// # Errors
/// [`Error::Retry`] when the transaction coordinator does not answer.
pub fn may_use_transactional_id(settings: &KafkaSettings, id: &str) -> Result<bool> {
    let doing = format!("try the transactional id {id}");
    let Some(failure) = transactional_id::take(settings, id, REQUEST)? else { return Ok(true) };
    if failure.is_refusal() || refused(failure.code).is_some() {
        return Ok(false);
    }
    // Another instance tries the same id at the same time: so it may be used.
    let fenced = [Code::RD_KAFKA_RESP_ERR__FENCED, Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED];
    if fenced.iter().any(|fenced| failure.code == *fenced as i32) {
        return Ok(true);
    }
    Err(Error::Retry(format!("{doing}: {} [HS2002]", failure.text)))
}

/// The resources that are described.
enum Question<'q> {
    Topics(&'q [&'q str]),
    Groups(&'q [&'q str]),
    Cluster,
}

impl Question<'_> {
    fn doing(&self) -> String {
        match self {
            Question::Topics(names) => format!("ask for the rights on topics {}", names.join(", ")),
            Question::Groups(names) => format!("ask for the rights on groups {}", names.join(", ")),
            Question::Cluster => "ask for the rights on the cluster".to_owned(),
        }
    }

    fn operation(&self) -> sys::rd_kafka_admin_op_t {
        match self {
            Question::Topics(_) => sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            Question::Groups(_) => sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
            Question::Cluster => sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER,
        }
    }

    /// How long librdkafka may try to get the answer, and how long it is waited for.
    fn limits(&self) -> (Duration, Duration) {
        match self {
            Question::Topics(_) | Question::Cluster => (REQUEST, REQUEST),
            Question::Groups(_) => (REQUEST_LIMIT, PATIENCE),
        }
    }

    fn send(&self, client: *mut sys::rd_kafka_t, options: &DescribeOptions, queue: &AdminQueue) -> Result<()> {
        let options = options.0.as_ptr();
        let queue = queue.0.as_ptr();
        match self {
            Question::Topics(names) => {
                let mut names = Names::new(names)?;
                // SAFETY: live arguments, which the call copies; the collection is ours and
                // destroyed once.
                unsafe {
                    let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
                    sys::rd_kafka_DescribeTopics(client, topics, options, queue);
                    sys::rd_kafka_TopicCollection_destroy(topics);
                }
            }
            Question::Groups(names) => {
                let mut names = Names::new(names)?;
                // SAFETY: as above.
                unsafe { sys::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), names.len(), options, queue) }
            }
            // SAFETY: as above.
            Question::Cluster => unsafe { sys::rd_kafka_DescribeCluster(client, options, queue) },
        }
        Ok(())
    }

    fn read(&self, event: &Event) -> std::result::Result<BTreeMap<String, Allowed>, Failure> {
        let event = event.0.as_ptr();
        let mut count = 0;
        let mut all = BTreeMap::new();
        // SAFETY: a live event of the kind that was asked for (else its result is null, which is
        // looked at); what is read belongs to it.
        unsafe {
            match self {
                Question::Topics(_) => {
                    let result = sys::rd_kafka_event_DescribeTopics_result(event);
                    if result.is_null() {
                        return Ok(all);
                    }
                    let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
                    for at in 0..count {
                        let topic = *topics.add(at);
                        let mut operations = 0;
                        let told = sys::rd_kafka_TopicDescription_authorized_operations(topic, &mut operations);
                        let error = sys::rd_kafka_TopicDescription_error(topic);
                        all.insert(text(sys::rd_kafka_TopicDescription_name(topic)), allowed(error, told, operations)?);
                    }
                }
                Question::Groups(_) => {
                    let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event);
                    if result.is_null() {
                        return Ok(all);
                    }
                    let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
                    for at in 0..count {
                        let group = *groups.add(at);
                        let mut operations = 0;
                        let told = sys::rd_kafka_ConsumerGroupDescription_authorized_operations(group, &mut operations);
                        let error = sys::rd_kafka_ConsumerGroupDescription_error(group);
                        let name = text(sys::rd_kafka_ConsumerGroupDescription_group_id(group));
                        all.insert(name, allowed(error, told, operations)?);
                    }
                }
                Question::Cluster => {
                    let result = sys::rd_kafka_event_DescribeCluster_result(event);
                    if result.is_null() {
                        return Ok(all);
                    }
                    let told = sys::rd_kafka_DescribeCluster_result_authorized_operations(result, &mut count);
                    all.insert(String::new(), allowed(std::ptr::null(), told, count)?);
                }
            }
        }
        Ok(all)
    }
}

/// The answer in one description.
///
/// # Safety
/// `error` is null or a live error object; `told` is null or points to `count` operations.
unsafe fn allowed(
    error: *const sys::rd_kafka_error_t,
    told: *const sys::rd_kafka_AclOperation_t,
    count: usize,
) -> std::result::Result<Allowed, Failure> {
    // SAFETY: the caller's promise.
    let code = if error.is_null() { 0 } else { unsafe { sys::rd_kafka_error_code(error) as i32 } };
    let absent = [Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, Code::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION];
    if refused(code).is_some() {
        return Ok(Allowed::Nothing);
    }
    if absent.iter().any(|absent| *absent as i32 == code) {
        return Ok(Allowed::Absent);
    }
    if let Some(failure) = Failure::of_number(code, None) {
        return Err(failure);
    }
    if told.is_null() {
        return Ok(Allowed::Untold);
    }
    // SAFETY: the caller's promise. Read as the numbers that they are, since a newer library may
    // know more operations.
    let numbers = unsafe { std::slice::from_raw_parts(told.cast::<u32>(), count) };
    Ok(Allowed::Operations(numbers.iter().filter_map(|number| operation(*number)).collect()))
}

/// An operation by its number in Kafka's protocol; `None` for one that nothing here asks for.
fn operation(number: u32) -> Option<Operation> {
    use sys::rd_kafka_AclOperation_t as Native;
    let known = [
        (Native::RD_KAFKA_ACL_OPERATION_READ, Operation::Read),
        (Native::RD_KAFKA_ACL_OPERATION_WRITE, Operation::Write),
        (Native::RD_KAFKA_ACL_OPERATION_CREATE, Operation::Create),
        (Native::RD_KAFKA_ACL_OPERATION_DELETE, Operation::Delete),
        (Native::RD_KAFKA_ACL_OPERATION_DESCRIBE, Operation::Describe),
        (Native::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS, Operation::DescribeConfigs),
        (Native::RD_KAFKA_ACL_OPERATION_CLUSTER_ACTION, Operation::ClusterAction),
        (Native::RD_KAFKA_ACL_OPERATION_IDEMPOTENT_WRITE, Operation::IdempotentWrite),
    ];
    known.iter().find(|(native, _)| *native as u32 == number).map(|(_, operation)| *operation)
}

/// # Safety
/// An ended string that lives for the call, or null.
unsafe fn text(of: *const c_char) -> String {
    // SAFETY: the caller's promise.
    if of.is_null() { String::new() } else { unsafe { CStr::from_ptr(of) }.to_string_lossy().into_owned() }
}

/// Names as librdkafka takes them.
struct Names {
    pointers: Vec<*const c_char>,
    _owned: Vec<CString>,
}

impl Names {
    fn new(names: &[&str]) -> Result<Names> {
        let owned = names.iter().map(|name| {
            CString::new(*name).map_err(|_| {
                Error::Fatal(format!("{name:?} is not a name that Kafka accepts: it holds a NUL [HS2017]"))
            })
        });
        let owned: Vec<CString> = owned.collect::<Result<_>>()?;
        Ok(Names { pointers: owned.iter().map(|name| name.as_ptr()).collect(), _owned: owned })
    }

    fn as_mut_ptr(&mut self) -> *mut *const c_char {
        self.pointers.as_mut_ptr()
    }

    fn len(&self) -> usize {
        self.pointers.len()
    }
}

/// A queue that one answer comes to.
struct AdminQueue(NonNull<sys::rd_kafka_queue_t>);

impl Drop for AdminQueue {
    fn drop(&mut self) {
        // SAFETY: owned, given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// An answer.
struct Event(NonNull<sys::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// The options of a request.
struct DescribeOptions(NonNull<sys::rd_kafka_AdminOptions_t>);

impl DescribeOptions {
    /// Asks for the authorised operations, and allows librdkafka so long to get them.
    fn ask_for_operations(&self, doing: &str, limit: Duration) -> Result<()> {
        let (options, mut why) = (self.0.as_ptr(), [0 as c_char; 256]);
        // SAFETY: live options, a buffer of the length told.
        unsafe {
            let code =
                sys::rd_kafka_AdminOptions_set_request_timeout(options, millis(limit), why.as_mut_ptr(), why.len());
            if let Some(failure) = Failure::of(code) {
                return Err(failure.remedy(Call::Admin, doing));
            }
            match Failure::from_error(sys::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1)) {
                Some(failure) => Err(failure.remedy(Call::Admin, doing)),
                None => Ok(()),
            }
        }
    }
}

impl Drop for DescribeOptions {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) }
    }
}
