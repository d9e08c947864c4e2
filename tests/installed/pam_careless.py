"""A program that opens a session through PAM, closes every file descriptor that it does not know, waits for a line, closes the
session, waits for another line and ends: pam_careless.py STACK USER"""
import ctypes, os, sys

pam = ctypes.CDLL("libpam.so.0")


class Conversation(ctypes.Structure):
    _fields_ = [("conv", ctypes.c_void_p), ("data", ctypes.c_void_p)]


handle, nobody = ctypes.c_void_p(), Conversation(None, None)
stack, user = (word.encode() for word in sys.argv[1:])
assert pam.pam_start(stack, user, ctypes.byref(nobody), ctypes.byref(handle)) == 0
print("opened", pam.pam_open_session(handle, 0), flush=True)
os.closerange(3, 1000)
sys.stdin.readline()
print("closed", pam.pam_close_session(handle, 0), flush=True)
sys.stdin.readline()
print("over", pam.pam_end(handle, 0), flush=True)
