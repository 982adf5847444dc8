/* Calls a function of a shared library. */
int create_in_library(int size);
int main(void) { return create_in_library(4096) == -1; }
