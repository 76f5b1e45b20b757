import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;

/** Both ends of every connection in one thread. A line on stdin is a job: "reads N" or "connections N". */
public class Reads {
    static final int BATCH = 16384;
    static ServerSocket listen;

    static void take(Socket server) throws Exception {
        server.getInputStream().read();
    }

    static Socket connect() throws Exception {
        return new Socket(listen.getInetAddress(), listen.getLocalPort());
    }

    static void reads(int count, Socket client, Socket server) throws Exception {
        for (int left = count; left > 0; left -= BATCH) {
            int now = Math.min(left, BATCH);
            client.getOutputStream().write(new byte[now]);
            for (int i = 0; i < now; i++) {
                take(server);
            }
        }
    }

    static void connections(int count) throws Exception {
        for (int i = 0; i < count; i++) {
            try (Socket near = connect(); Socket far = listen.accept()) {
                near.getOutputStream().write('x');
                take(far);
            }
        }
    }

    public static void main(String[] args) throws Exception {
        listen = new ServerSocket(0, 16, InetAddress.getLoopbackAddress());
        Socket client = connect();
        Socket server = listen.accept();
        BufferedReader jobs = new BufferedReader(new InputStreamReader(System.in));
        for (String line = jobs.readLine(); line != null; line = jobs.readLine()) {
            String[] words = line.split(" ");
            int count = Integer.parseInt(words[1]);
            if (words[0].equals("reads")) {
                reads(count, client, server);
            } else {
                connections(count);
            }
            System.out.println("done");
        }
    }
}
