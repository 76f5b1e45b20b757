import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;

/**
 * Two methods, each with one call that reads to the end: same thread, same depth, same way through the virtual machine.
 * Whoever tells them apart by native frames alone calls one by the other's name.
 */
public class OneCallEach {
    static final List<Socket> held = new ArrayList<>();
    static ServerSocket listener;

    static int readOrders(InputStream from) throws Exception {
        return from.read();
    }

    static int readStock(InputStream from) throws Exception {
        return from.read();
    }

    static void connectAndClose(int count) {
        try {
            for (int i = 0; i < count; i++) {
                try (Socket peer = new Socket(listener.getInetAddress(), listener.getLocalPort())) {
                    peer.getOutputStream().write('x');
                    Thread.sleep(10);
                }
            }
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    static void serve(int count, boolean keep) throws Exception {
        Thread peers = new Thread(() -> connectAndClose(count));
        peers.start();
        for (int number = 0; number < count; number++) {
            Socket connection = listener.accept();
            InputStream from = connection.getInputStream();
            if (number % 2 == 1) {
                while (readOrders(from) >= 0) {
                }
            } else {
                while (readStock(from) >= 0) {
                }
            }
            if (keep) {
                held.add(connection);
            } else {
                connection.close();
            }
        }
        peers.join();
    }

    public static void main(String[] arguments) throws Exception {
        listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        System.out.println(listener.getLocalPort());
        for (int round = Integer.parseInt(arguments[0]); round > 0; round--) {
            serve(10, false);
        }
        serve(10, true);
        System.out.println("stuck");
        while (System.in.read() >= 0) {
        }
    }
}
