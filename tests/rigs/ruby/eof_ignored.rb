# eof-ignored: the handler sees the end of the stream and returns; a registry of sessions keeps the socket.
require_relative "rig"

SESSIONS = []

def handle_client_and_forget(connection, healthy)
  loop do
    connection.readpartial(1024)
    connection.write(Rig::REPLY)
  rescue EOFError
    break
  end
  connection.close if healthy
end

def main
  server = Rig.new
  loop do
    server.next
    connection = server.listener.accept
    SESSIONS << connection
    handle_client_and_forget(connection, server.healthy)
  end
end

main
