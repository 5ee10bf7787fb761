#!/nonexistent/interpreter
# Nothing can run this.
