// Nothing of its own: CMake wants a source for latchkey_policy, which is made of libraries.
