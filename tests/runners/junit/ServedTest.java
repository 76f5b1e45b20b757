import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A server whose test forgets a connection when LEAK is set. */
class ServedTest {
  static final List<Socket> KEPT = new ArrayList<>();

  static Socket handleClient(ServerSocket listener, Socket client) throws IOException {
    Socket connection = listener.accept();
    client.close();
    assertEquals(-1, connection.getInputStream().read());
    return connection;
  }

  @Test
  void aClientIsServed() throws IOException {
    InetAddress here = InetAddress.getLoopbackAddress();
    try (ServerSocket listener = new ServerSocket(0, 8, here)) {
      Socket client = new Socket(here, listener.getLocalPort());
      Socket connection = handleClient(listener, client);
      if (System.getenv("LEAK") != null) {
        KEPT.add(connection);
      } else {
        connection.close();
      }
    }
  }
}
