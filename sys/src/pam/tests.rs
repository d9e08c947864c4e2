//! Tests the callback itself, and libpam with a service that has no file (Debian's `other`).

use super::conversation::{ConversationState, speak};
use super::*;
use pam_sys::types::{PamMessage, PamResponse};

type Say = Box<dyn FnMut(Prompt<'_>) -> Result<Option<Secret>, ConversationFailed>>;

struct Scripted(Say);

impl Conversation for Scripted {
    fn converse(&mut self, prompt: Prompt<'_>) -> Result<Option<Secret>, ConversationFailed> {
        (self.0)(prompt)
    }
}

/// Calls the callback with these messages; returns its code and the answers.
fn converse(messages: &[(i32, &CStr)], say: Say) -> (i32, Vec<Option<Vec<u8>>>) {
    let mut talk = ConversationState::new(Box::new(Scripted(say)));
    let mut messages: Vec<_> =
        messages.iter().map(|(style, text)| PamMessage { msg_style: *style, msg: text.as_ptr() }).collect();
    let mut pointers: Vec<*mut PamMessage> = messages.iter_mut().map(ptr::from_mut).collect();
    let mut responses: *mut PamResponse = ptr::null_mut();
    let count = i32::try_from(pointers.len()).unwrap();
    let code = speak(count, pointers.as_mut_ptr(), &raw mut responses, (&raw mut talk).cast());
    if responses.is_null() {
        return (code, Vec::new());
    }
    let mut answers = Vec::new();
    for index in 0..pointers.len() {
        // SAFETY: the callback made as many responses as there were messages.
        let text = unsafe { (*responses.add(index)).resp };
        // SAFETY: a text is a string that ends in NUL.
        answers.push((!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()));
        // SAFETY: from calloc, and ours now.
        unsafe { libc::free(text.cast()) };
    }
    // SAFETY: from calloc, and ours now.
    unsafe { libc::free(responses.cast()) };
    (code, answers)
}

fn secret(text: &[u8]) -> Result<Option<Secret>, ConversationFailed> {
    Ok(Some(Secret::new(text.to_vec())))
}

#[test]
fn every_style_reaches_the_conversation_and_prompts_are_answered() {
    let messages = [(1, c"Password: "), (2, c"Code: "), (3, c"bad"), (4, c"good")];
    let (code, answers) = converse(
        &messages,
        Box::new(|prompt| match prompt {
            Prompt::Hidden(b"Password: ") => secret(b"hunter2"),
            Prompt::Visible(b"Code: ") => secret(b""),
            Prompt::Error(b"bad") | Prompt::Info(b"good") => Ok(None),
            other => panic!("{other:?}"),
        }),
    );
    assert_eq!(code, PAM_SUCCESS);
    assert_eq!(answers, [Some(b"hunter2".to_vec()), Some(vec![]), None, None]);
}

#[test]
fn a_conversation_of_zero_or_too_many_messages_is_rejected() {
    let never = || -> Say { Box::new(|_| panic!("asked")) };
    assert_eq!(converse(&[], never()).0, PAM_CONV_ERR);
    assert_eq!(converse(&[(1, c"x"); 33], never()).0, PAM_CONV_ERR);
    assert_eq!(converse(&[(1, c"x"); 32], Box::new(|_| secret(b"y"))).0, PAM_SUCCESS);
}

#[test]
fn null_pointers_are_rejected() {
    let mut talk = ConversationState::new(Box::new(Scripted(Box::new(|_| secret(b"")))));
    let talk: *mut libc::c_void = (&raw mut talk).cast();
    let mut responses: *mut PamResponse = ptr::null_mut();
    let mut message = PamMessage { msg_style: 1, msg: ptr::null() };
    let mut pointers = [ptr::null_mut(), &raw mut message];
    assert_eq!(speak(1, ptr::null_mut(), &raw mut responses, talk), PAM_CONV_ERR);
    assert_eq!(speak(1, pointers.as_mut_ptr(), ptr::null_mut(), talk), PAM_CONV_ERR);
    assert_eq!(speak(1, pointers.as_mut_ptr(), &raw mut responses, ptr::null_mut()), PAM_CONV_ERR);
    assert_eq!(speak(1, pointers.as_mut_ptr(), &raw mut responses, talk), PAM_CONV_ERR);
    pointers.swap(0, 1);
    assert_eq!(speak(1, pointers.as_mut_ptr(), &raw mut responses, talk), PAM_CONV_ERR);
    assert!(responses.is_null());
}

#[test]
fn a_panic_in_the_conversation_becomes_an_error() {
    let (code, answers) = converse(
        &[(1, c"x"), (1, c"y")],
        Box::new(|prompt| if prompt == Prompt::Hidden(b"x") { secret(b"a") } else { panic!("on purpose") }),
    );
    assert_eq!((code, answers.len()), (PAM_CONV_ERR, 0));
}

#[test]
fn answers_that_are_no_c_string_are_rejected() {
    assert_eq!(converse(&[(1, c"x")], Box::new(|_| secret(b"right\0wrong"))).0, PAM_CONV_ERR);
    assert_eq!(converse(&[(1, c"x")], Box::new(|_| secret(&[b'a'; 1024]))).0, PAM_CONV_ERR);
    assert_eq!(converse(&[(1, c"x")], Box::new(|_| secret(&[b'a'; 1023]))).0, PAM_SUCCESS);
    assert_eq!(converse(&[(1, c"x")], Box::new(|_| Ok(None))).0, PAM_CONV_ERR);
    assert_eq!(converse(&[(7, c"x")], Box::new(|_| secret(b"a"))).0, PAM_CONV_ERR);
}

#[test]
fn only_pam_success_counts_as_success() {
    let mut pam = Pam::start("jit-sudo-sys-test", "nobody", Box::new(Scripted(Box::new(|_| Ok(None))))).unwrap();
    for code in 1..=40 {
        assert_eq!(pam.judge(code, "test").unwrap_err().code, code);
    }
    assert!(pam.judge(-1, "test").is_err());
    pam.judge(PAM_SUCCESS, "test").unwrap();
}

#[test]
fn the_pam_environment_round_trips() {
    let mut pam = Pam::start("jit-sudo-sys-test", "nobody", Box::new(Scripted(Box::new(|_| Ok(None))))).unwrap();
    assert!(pam.environment().unwrap().is_empty());
    pam.put_environment(OsStr::new("A=1")).unwrap();
    pam.put_environment(OsStr::new("B=x=y")).unwrap();
    pam.put_environment(OsStr::new("A")).unwrap();
    assert_eq!(pam.environment().unwrap(), ["B=x=y"]);
}

#[test]
fn items_are_accepted_and_nul_is_rejected() {
    let mut pam = Pam::start("jit-sudo-sys-test", "nobody", Box::new(Scripted(Box::new(|_| Ok(None))))).unwrap();
    pam.set_tty(OsStr::new("/dev/pts/0")).unwrap();
    pam.set_ruser("alice").unwrap();
    pam.set_rhost("host").unwrap();
    assert_eq!(pam.user().unwrap(), "nobody");
    pam.set_user("root").unwrap();
    assert_eq!(pam.user().unwrap(), "root");
    assert!(pam.set_user("ro\0ot").is_err());
    assert!(Pam::start("a\0b", "nobody", Box::new(Scripted(Box::new(|_| Ok(None))))).is_err());
}

#[test]
fn a_cancelled_conversation_differs_from_a_wrong_password() {
    let mut error = PamError::of(ptr::null_mut(), PAM_AUTH_ERR, "pam_authenticate");
    assert!(error.is_wrong_password() && !error.is_aborted());
    assert_eq!(error.to_string(), "pam_authenticate: Authentication failure");
    error.broken_off = true;
    assert!(!error.is_wrong_password() && error.is_aborted());
}

/// Authenticates with the real library and pam_unix, as Debian's `other` service does.
fn authenticated(say: Say) -> Result<(), PamError> {
    let mut pam = Pam::start("jit-sudo-sys-test", "nobody", Box::new(Scripted(say))).unwrap();
    pam.authenticate(Messages::Silent, EmptyPassword::Refused)
}

#[test]
fn the_real_library_reports_a_wrong_password() {
    let error = authenticated(Box::new(|prompt| match prompt {
        Prompt::Hidden(b"Password: ") => secret(b"wrong"),
        _ => Ok(None),
    }))
    .unwrap_err();
    assert!(error.is_wrong_password() && !error.is_aborted(), "{error:?}");
}

#[test]
fn the_real_library_reports_a_cancelled_question() {
    let error = authenticated(Box::new(|_| Err(ConversationFailed))).unwrap_err();
    assert!(error.is_aborted() && !error.is_wrong_password(), "{error:?}");
    let error = authenticated(Box::new(|_| panic!("on purpose"))).unwrap_err();
    assert!(error.is_aborted(), "{error:?}");
}
