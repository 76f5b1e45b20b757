import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * Five workers answer clients that do not read the answer; connections beyond are accepted and wait for
 * a worker for ever. Prints its port and nothing else.
 */
public class BlockedPool {
    static class MetricsHandler {
        void handle(Socket client) {
            byte[] answer = new byte[1 << 16];
            try (OutputStream out = client.getOutputStream()) {
                while (true) {
                    out.write(answer);
                }
            } catch (IOException hungUp) {
                // The next one.
            }
        }
    }

    public static void main(String[] arguments) throws IOException {
        ServerSocket listener = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
        ExecutorService pool = Executors.newFixedThreadPool(5);
        System.out.println(listener.getLocalPort());
        while (true) {
            Socket client = listener.accept();
            pool.execute(() -> new MetricsHandler().handle(client));
        }
    }
}
