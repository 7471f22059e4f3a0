//! A real Kafka broker with an authorizer, where nobody but the test may do anything without an
//! ACL, and users to give ACLs to.
//!
//! ACLs are made and taken away by the admin API (`rd_kafka_CreateAcls`), since a call of Kafka's
//! own tool starts a JVM.

use super::broker::More;
use super::{Broker, ports, wait_for};
use rdkafka::admin::AdminClient;
use rdkafka::bindings as sys;
use rdkafka::client::DefaultClientContext;
use std::ffi::{CStr, CString, c_char};
use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many users there are; each test takes some of its own.
const USERS: usize = 400;
/// The password of each of them.
const PASSWORD: &str = "user-password";

/// One operation on one resource, as an ACL names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// `topic`, `group`, `transactional-id`, `cluster`.
    pub resource: String,
    /// The resource's name, or a prefix.
    pub name: String,
    /// Whether it is a prefix.
    pub is_prefix: bool,
    /// The operation, as `kafka-acls.sh` spells it.
    pub operation: String,
}

impl Acl {
    /// The ACLs that a command of `kafka-acls.sh` adds.
    pub fn of_command(line: &str) -> Vec<Acl> {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((words[0], words.contains(&"--add")), ("kafka-acls.sh", true), "{line}");
        let values = |flag: &str| -> Vec<String> {
            let pairs = words.windows(2).filter(|pair| pair[0] == flag);
            pairs.map(|pair| pair[1].to_owned()).collect()
        };
        let is_prefix = values("--resource-pattern-type") == ["prefixed"];
        let mut all = Vec::new();
        for operation in values("--operation") {
            for resource in ["topic", "group", "transactional-id"] {
                for name in values(&format!("--{resource}")) {
                    let resource = resource.to_owned();
                    let operation = operation.clone();
                    all.push(Acl { resource, name, is_prefix, operation });
                }
            }
            if words.contains(&"--cluster") {
                let resource = "cluster".to_owned();
                let name = "kafka-cluster".to_owned();
                all.push(Acl { resource, name, is_prefix: false, operation: operation.clone() });
            }
        }
        assert!(!all.is_empty(), "{line}");
        all
    }

    /// The command that adds it, as a message ends with it.
    pub fn command(&self, principal: &str) -> String {
        let resource = match self.resource.as_str() {
            "cluster" => "--cluster".to_owned(),
            resource => format!("--{resource} {}", self.name),
        };
        let pattern = if self.is_prefix { " --resource-pattern-type prefixed" } else { "" };
        format!("--add --allow-principal {principal} --operation {} {resource}{pattern}", self.operation)
    }

    /// As a message names it.
    pub fn text(&self) -> String {
        let operation = &self.operation;
        let resource = self.resource.replace('-', " ");
        let name = &self.name;
        match (resource.as_str(), self.is_prefix) {
            ("cluster", _) => format!("{operation} on the cluster"),
            (_, true) => format!("{operation} on {resource}s with the prefix {name}"),
            (_, false) => format!("{operation} on {resource} {name}"),
        }
    }
}

/// A broker whose SASL listener lets in users that may do nothing yet. By its PLAINTEXT listener
/// the test itself is a super user.
#[derive(Debug)]
pub struct AclBroker {
    broker: Broker,
    port: u16,
    next_user: AtomicUsize,
}

/// Somebody who logs in.
#[derive(Debug, Clone)]
pub struct User {
    /// Its name; the principal is `User:` and this.
    pub name: String,
    servers: String,
}

impl User {
    /// As ACLs name it.
    pub fn principal(&self) -> String {
        format!("User:{}", self.name)
    }

    /// Arguments by which a command of `helixstream` connects.
    pub fn arguments(&self) -> Vec<String> {
        let settings = self.settings().into_iter().flat_map(|(key, value)| ["-X".to_owned(), format!("{key}={value}")]);
        ["--bootstrap-servers".to_owned(), self.servers.clone()].into_iter().chain(settings).collect()
    }

    /// A client configuration of the test's own.
    pub fn client(&self) -> rdkafka::ClientConfig {
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        for (key, value) in self.settings() {
            config.set(key, value);
        }
        config
    }

    /// `host:port`.
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// The login as a properties file of Kafka's tools has it.
    pub fn properties(&self) -> String {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule required";
        let name = &self.name;
        format!(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config={module} username=\"{name}\" password=\"{PASSWORD}\";\n"
        )
    }

    fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("security.protocol", "SASL_PLAINTEXT".to_owned()),
            ("sasl.mechanism", "PLAIN".to_owned()),
            ("sasl.username", self.name.clone()),
            ("sasl.password", PASSWORD.to_owned()),
        ]
    }
}

impl AclBroker {
    /// The one that all tests of this binary share.
    pub fn shared() -> &'static AclBroker {
        static SHARED: OnceLock<AclBroker> = OnceLock::new();
        SHARED.get_or_init(AclBroker::start)
    }

    fn start() -> AclBroker {
        let port = ports::free_port();
        let mut users = String::new();
        for number in 0..USERS {
            write!(users, " user_user{number}=\"{PASSWORD}\"").unwrap();
        }
        let listeners = format!("PLAINTEXT://localhost:{{client}},SASL://localhost:{port}");
        let properties = format!(
            "listeners={listeners},CONTROLLER://localhost:{{controller}}
advertised.listeners={listeners}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT
inter.broker.listener.name=PLAINTEXT
listener.name.sasl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required{users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"
        );
        let broker = Broker::start_with_more(More { properties, ..More::default() });
        AclBroker { broker, port, next_user: AtomicUsize::new(0) }
    }

    /// The broker, where the test may do anything.
    pub fn open(&self) -> &Broker {
        &self.broker
    }

    /// A user that nobody else has, without any right.
    pub fn user(&self) -> User {
        let number = self.next_user.fetch_add(1, Ordering::Relaxed);
        assert!(number < USERS, "the tests take more users than there are");
        User { name: format!("user{number}"), servers: format!("localhost:{}", self.port) }
    }

    /// Gives ACLs to users; returns when the broker goes by them.
    pub fn allow(&self, acls: &[(&User, &Acl)]) {
        if acls.is_empty() {
            return;
        }
        let admin = self.admin();
        let client = admin.inner().native_ptr();
        let bindings: Vec<_> = acls.iter().map(|(user, acl)| binding(user, acl)).collect();
        // SAFETY: a live client; bindings and queue are ours, and freed by their owners behind the
        // call.
        unsafe {
            let queue = Queue::new(client);
            let mut pointers: Vec<_> = bindings.iter().map(|binding| binding.0).collect();
            sys::rd_kafka_CreateAcls(client, pointers.as_mut_ptr(), pointers.len(), std::ptr::null(), queue.0);
            let event = queue.answer();
            let result = sys::rd_kafka_event_CreateAcls_result(event.0);
            let mut count = 0;
            let results = sys::rd_kafka_CreateAcls_result_acls(result, &mut count);
            assert_eq!(count, acls.len());
            for at in 0..count {
                let error = sys::rd_kafka_acl_result_error(*results.add(at));
                assert!(error.is_null(), "{}", CStr::from_ptr(sys::rd_kafka_error_string(error)).to_string_lossy());
            }
        }
        // In the order of the log: with the last one the broker knows all.
        let Some((user, acl)) = acls.last() else { return };
        wait_for("an ACL to hold", || self.has(user, acl).then_some(()));
    }

    /// Takes an ACL away; returns when the broker goes by it.
    pub fn take_away(&self, user: &User, acl: &Acl) {
        let admin = self.admin();
        let client = admin.inner().native_ptr();
        let filter = filter(user, acl);
        // SAFETY: as above.
        unsafe {
            let queue = Queue::new(client);
            let mut filters = [filter.0];
            sys::rd_kafka_DeleteAcls(client, filters.as_mut_ptr(), 1, std::ptr::null(), queue.0);
            queue.answer();
        }
        wait_for("an ACL to be gone", || (!self.has(user, acl)).then_some(()));
    }

    /// Whether the broker's own view of the ACLs has it.
    fn has(&self, user: &User, acl: &Acl) -> bool {
        let admin = self.admin();
        let client = admin.inner().native_ptr();
        let filter = filter(user, acl);
        // SAFETY: as above.
        unsafe {
            let queue = Queue::new(client);
            sys::rd_kafka_DescribeAcls(client, filter.0, std::ptr::null(), queue.0);
            let event = queue.answer();
            let mut count = 0;
            sys::rd_kafka_DescribeAcls_result_acls(sys::rd_kafka_event_DescribeAcls_result(event.0), &mut count);
            count > 0
        }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.broker.client().create().unwrap()
    }
}

/// An ACL, or a filter for it, as librdkafka has both.
struct Binding(*mut sys::rd_kafka_AclBinding_t);

impl Drop for Binding {
    fn drop(&mut self) {
        // SAFETY: owned, freed once.
        unsafe { sys::rd_kafka_AclBinding_destroy(self.0) }
    }
}

fn binding(user: &User, acl: &Acl) -> Binding {
    made(user, acl, sys::rd_kafka_AclBinding_new)
}

fn filter(user: &User, acl: &Acl) -> Binding {
    made(user, acl, sys::rd_kafka_AclBindingFilter_new)
}

/// Builder of a binding or a filter.
type Make = unsafe extern "C" fn(
    sys::rd_kafka_ResourceType_t,
    *const c_char,
    sys::rd_kafka_ResourcePatternType_t,
    *const c_char,
    *const c_char,
    sys::rd_kafka_AclOperation_t,
    sys::rd_kafka_AclPermissionType_t,
    *mut c_char,
    usize,
) -> *mut sys::rd_kafka_AclBinding_t;

fn made(user: &User, acl: &Acl, make: Make) -> Binding {
    use sys::rd_kafka_AclOperation_t::*;
    use sys::rd_kafka_ResourcePatternType_t::*;
    use sys::rd_kafka_ResourceType_t::*;
    let resource = match acl.resource.as_str() {
        "topic" => RD_KAFKA_RESOURCE_TOPIC,
        "group" => RD_KAFKA_RESOURCE_GROUP,
        "transactional-id" => RD_KAFKA_RESOURCE_TRANSACTIONAL_ID,
        "cluster" => RD_KAFKA_RESOURCE_BROKER,
        other => panic!("no resource: {other}"),
    };
    let operation = match acl.operation.as_str() {
        "Read" => RD_KAFKA_ACL_OPERATION_READ,
        "Write" => RD_KAFKA_ACL_OPERATION_WRITE,
        "Create" => RD_KAFKA_ACL_OPERATION_CREATE,
        "Delete" => RD_KAFKA_ACL_OPERATION_DELETE,
        "Describe" => RD_KAFKA_ACL_OPERATION_DESCRIBE,
        "DescribeConfigs" => RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS,
        "ClusterAction" => RD_KAFKA_ACL_OPERATION_CLUSTER_ACTION,
        other => panic!("no operation: {other}"),
    };
    let pattern = if acl.is_prefix { RD_KAFKA_RESOURCE_PATTERN_PREFIXED } else { RD_KAFKA_RESOURCE_PATTERN_LITERAL };
    let name = CString::new(acl.name.as_str()).unwrap();
    let principal = CString::new(user.principal()).unwrap();
    let allow = sys::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW;
    let mut why = [0 as c_char; 256];
    // SAFETY: ended strings that live for the call, a buffer of the length told.
    let made = unsafe {
        make(
            resource,
            name.as_ptr(),
            pattern,
            principal.as_ptr(),
            c"*".as_ptr(),
            operation,
            allow,
            why.as_mut_ptr(),
            why.len(),
        )
    };
    // SAFETY: the buffer starts zeroed.
    assert!(!made.is_null(), "{acl:?}: {}", unsafe { CStr::from_ptr(why.as_ptr()) }.to_string_lossy());
    Binding(made)
}

/// A queue for one answer.
pub(super) struct Queue(pub *mut sys::rd_kafka_queue_t);

impl Queue {
    /// # Safety
    /// A live client, which outlives the queue.
    pub unsafe fn new(client: *mut sys::rd_kafka_t) -> Queue {
        // SAFETY: the caller's promise.
        Queue(unsafe { sys::rd_kafka_queue_new(client) })
    }

    /// The answer, which is no error as a whole.
    pub fn answer(&self) -> Event {
        // SAFETY: a live queue; the event is ours.
        let event = Event(unsafe { sys::rd_kafka_queue_poll(self.0, 60_000) });
        assert!(!event.0.is_null(), "the broker does not answer");
        // SAFETY: a live event.
        let code = unsafe { sys::rd_kafka_event_error(event.0) };
        assert_eq!(code as i32, 0, "the request failed");
        event
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: owned, freed once.
        unsafe { sys::rd_kafka_queue_destroy(self.0) }
    }
}

/// An answer.
pub(super) struct Event(pub *mut sys::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: owned, freed once.
        unsafe { sys::rd_kafka_event_destroy(self.0) }
    }
}
